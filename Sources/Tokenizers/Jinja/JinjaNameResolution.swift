extension Jinja {
  /// Finds the names that Jinja hides, and makes their scopes begin by hiding them.
  ///
  /// Jinja decides before a template runs where each name of a scope comes from. A name that a
  /// scope assigns before it reads it is the scope's own from the start, so that an inner scope
  /// that runs before the assignment finds no value, even when the caller passed a variable of
  /// this name: `{% for i in x %}{{ tools }}{% endfor %}{% set tools = 1 %}` never shows the
  /// caller's tools. A name that is read first, or that only a branch assigns, is not hidden.
  struct NameResolution {
    /// What one scope does with names.
    private struct Symbols {
      var known: Set<Int> = []
      var stored: Set<Int> = []
      var hidden: Set<Int> = []
    }

    /// The scopes around the current one, outermost first, and the current one.
    private var scopes: [Symbols] = [Symbols()]

    /// The statements of a template, with the hidden names of all scopes made explicit.
    static func resolve(_ body: [Statement]) -> [Statement] {
      var resolution = NameResolution()
      resolution.scopes = []
      return resolution.scope(body)
    }

    // MARK: Names of a scope

    private var current: Symbols {
      get { scopes[scopes.count - 1] }
      set { scopes[scopes.count - 1] = newValue }
    }

    private func outerKnows(_ id: Int) -> Bool {
      scopes.dropLast().contains { $0.known.contains(id) }
    }

    private mutating func load(_ id: Int) {
      if !outerKnows(id) {
        current.known.insert(id)
      }
    }

    private mutating func store(_ id: Int) {
      current.stored.insert(id)
      if current.known.insert(id).inserted, !outerKnows(id) {
        current.hidden.insert(id)
      }
    }

    private mutating func store(_ target: Target, asParameter: Bool = false) {
      switch target {
      case .name(let id) where asParameter:
        current.known.insert(id)
        current.stored.insert(id)
      case .name(let id): store(id)
      case .attribute(let id, _): load(id)
      case .tuple(let targets):
        for target in targets {
          store(target, asParameter: asParameter)
        }
      }
    }

    private mutating func load(_ expression: Expression?) {
      guard let expression else { return }
      if case .name(let id) = expression.kind {
        load(id)
      }
      for child in expression.children {
        load(child)
      }
    }

    // MARK: First pass: the statements of one scope

    private mutating func visit(_ body: [Statement]) {
      for statement in body {
        visit(statement)
      }
    }

    private mutating func visit(_ statement: Statement) {
      switch statement.kind {
      case .output(let expression): load(expression)
      case .conditional(let branches, let otherwise): visit(branches[...], otherwise)
      case .loop(let loop): load(loop.iterable)
      case .assign(let target, let expression):
        load(expression)
        store(target)
      case .assignBlock(let target, _, _): store(target)
      case .macro(let id, _): store(id)
      case .callBlock(let call, _): load(call)
      case .filterBlock(let filters, _): load(filters)
      case .with(let bindings, _):
        for binding in bindings {
          load(binding.value)
        }
      case .text, .block, .scope, .generation, .breakLoop, .continueLoop, .unsupported, .hide:
        break
      }
    }

    private mutating func visit(
      _ branches: ArraySlice<(test: Expression, body: [Statement])>, _ otherwise: [Statement]
    ) {
      guard let first = branches.first else { return }
      load(first.test)
      let before = current
      visit(first.body)
      let then = current
      current = before
      for branch in branches.dropFirst() {
        visit([branch][...], [])
      }
      let elifs = current
      current = before
      visit(otherwise)
      let alternatives = [then, elifs, current]
      current = before
      for branch in alternatives {
        current.known.formUnion(branch.known)
        current.stored.formUnion(branch.stored)
        current.hidden.formUnion(branch.hidden)
      }
      // What only a branch assigns keeps the value from outside on the other branches.
      current.hidden.subtract(current.stored.subtracting(before.stored))
    }

    // MARK: Second pass: the scopes inside of a scope

    /// A body that is a scope of its own.
    private mutating func scope(
      _ body: [Statement], parameters: [Int] = [], targets: [Target] = [],
      expressions: [Expression] = []
    ) -> [Statement] {
      scopes.append(Symbols())
      for id in parameters {
        store(.name(id), asParameter: true)
      }
      for target in targets {
        store(target, asParameter: true)
      }
      for expression in expressions {
        load(expression)
      }
      visit(body)
      let hidden = current.hidden.sorted()
      var result = inner(body)
      scopes.removeLast()
      if !hidden.isEmpty, let line = body.first?.line {
        result.insert(Statement(line: line, kind: .hide(hidden)), at: 0)
      }
      return result
    }

    private mutating func inner(_ body: [Statement]) -> [Statement] {
      var result: [Statement] = []
      result.reserveCapacity(body.count)
      for statement in body {
        result.append(Statement(line: statement.line, kind: inner(statement.kind)))
      }
      return result
    }

    private mutating func inner(_ kind: Statement.Kind) -> Statement.Kind {
      switch kind {
      case .conditional(let branches, let otherwise):
        var resolved: [(test: Expression, body: [Statement])] = []
        for branch in branches {
          resolved.append((branch.test, inner(branch.body)))
        }
        return .conditional(resolved, otherwise: inner(otherwise))
      case .loop(let loop):
        return .loop(
          ForLoop(
            target: loop.target, iterable: loop.iterable, condition: loop.condition,
            isRecursive: loop.isRecursive, body: scope(loop.body, targets: [loop.target]),
            otherwise: scope(loop.otherwise)))
      case .assignBlock(let target, let filters, let body):
        return .assignBlock(target, filters: filters, body: scope(body))
      case .macro(let id, let definition):
        return .macro(id, inner(definition))
      case .callBlock(let call, let definition):
        return .callBlock(call, inner(definition))
      case .filterBlock(let filters, let body):
        return .filterBlock(filters, body: scope(body))
      case .with(let bindings, let body):
        return .with(bindings, body: scope(body, targets: bindings.map(\.target)))
      case .block(let body):
        // A block does not see the scopes around it.
        let outer = scopes
        scopes = []
        let resolved = scope(body)
        scopes = outer
        return .block(resolved)
      case .scope(let body):
        return .scope(scope(body))
      case .generation(let body):
        return .generation(scope(body))
      case .text, .output, .assign, .breakLoop, .continueLoop, .unsupported, .hide:
        return kind
      }
    }

    private mutating func inner(_ definition: MacroDefinition) -> MacroDefinition {
      var result = definition
      result.body = scope(
        definition.body, parameters: definition.parameters.map(\.id),
        expressions: definition.defaults)
      return result
    }
  }
}

extension Jinja.Expression {
  /// The expressions that this one is made of.
  fileprivate var children: [Jinja.Expression] {
    switch kind {
    case .none, .bool, .integer, .float, .string, .name: []
    case .list(let items), .tuple(let items), .concatenation(let items): items
    case .dictionary(let pairs): pairs.flatMap { [$0.key, $0.value] }
    case .attribute(let object, _): [object]
    case .item(let object, let index): [object, index]
    case .slice(let object, let start, let stop, let step):
      [object] + [start, stop, step].compactMap { $0 }
    case .call(let callee, let arguments): [callee] + arguments.expressions
    case .filter(let input, _, _, let arguments):
      (input.map { [$0] } ?? []) + arguments.expressions
    case .test(let input, _, _, let arguments): [input] + arguments.expressions
    case .not(let operand), .negate(let operand), .plus(let operand): [operand]
    case .and(let left, let right), .or(let left, let right), .binary(_, let left, let right):
      [left, right]
    case .comparison(let first, let rest): [first] + rest.map(\.1)
    case .conditional(let test, let then, let otherwise):
      [test, then] + (otherwise.map { [$0] } ?? [])
    }
  }
}
