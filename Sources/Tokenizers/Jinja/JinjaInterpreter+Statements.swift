extension Jinja {
  /// How a statement ended.
  enum Flow {
    case normal, breakLoop, continueLoop
  }
}

extension Jinja.Interpreter {
  private typealias Scope = Jinja.Scope
  private typealias Value = Jinja.Value

  /// Runs statements until one of them leaves or continues the loop around them.
  func execute(
    _ body: [Jinja.Statement], in scope: Jinja.Scope
  ) throws(ChatTemplateError) -> Jinja.Flow {
    try enter()
    for statement in body {
      line = statement.line
      try charge(1)
      let flow = try execute(statement, in: scope)
      if flow != .normal {
        leave()
        return flow
      }
    }
    leave()
    return .normal
  }

  private func execute(
    _ statement: Jinja.Statement, in scope: Jinja.Scope
  ) throws(ChatTemplateError) -> Jinja.Flow {
    switch statement.kind {
    case .text(let text):
      try write(text)
    case .output(let expression):
      try write(try evaluate(expression, in: scope))
    case .conditional(let branches, let otherwise):
      for branch in branches where try isTrue(branch.test, in: scope) {
        return try execute(branch.body, in: scope)
      }
      return otherwise.isEmpty ? .normal : try execute(otherwise, in: scope)
    case .loop(let loop):
      return try executeLoop(loop, in: scope)
    case .assign(let target, let expression):
      try checkNamespaces(of: target, in: scope)
      try assign(try evaluate(expression, in: scope), to: target, in: scope)
    case .assignBlock(let target, let filters, let body):
      return try executeAssignBlock(target, filters, body, in: scope)
    case .macro(let id, let definition):
      scope.set(id, to: .macro(Jinja.Macro(definition, in: scope)))
    case .callBlock(let call, let definition):
      let caller = Value.macro(Jinja.Macro(definition, in: scope))
      try write(try evaluateCall(call, in: scope, caller: caller))
    case .filterBlock(let filters, let body):
      let inner = Scope(parent: scope)
      let (text, flow) = try capture(body, in: inner)
      guard flow == .normal else { return flow }
      try write(try applyFilters(filters, to: .string(text), in: inner))
    case .with(let bindings, let body):
      let inner = Scope(parent: scope)
      for binding in bindings {
        try assign(try evaluate(binding.value, in: scope), to: binding.target, in: inner)
      }
      return try execute(body, in: inner)
    case .block(let body):
      _ = try execute(body, in: Scope(parent: rootScope))
    case .scope(let body):
      return try execute(body, in: Scope(parent: scope))
    case .generation(let body):
      try recordSpan(body, in: Scope(parent: scope))
    case .hide(let ids):
      for id in ids {
        scope.set(id, to: .undefined(.name(program.names[id])))
      }
    case .breakLoop:
      return .breakLoop
    case .continueLoop:
      return .continueLoop
    case .unsupported(let tag):
      throw failure("'\(tag)' needs another template, and a chat template has none")
    }
    return .normal
  }

  func isTrue(
    _ expression: Jinja.Expression, in scope: Jinja.Scope
  ) throws(ChatTemplateError) -> Bool {
    try evaluate(expression, in: scope).isTrue
  }

  private func executeAssignBlock(
    _ target: Jinja.Target, _ filters: Jinja.Expression?, _ body: [Jinja.Statement],
    in scope: Jinja.Scope
  ) throws(ChatTemplateError) -> Jinja.Flow {
    let inner = Scope(parent: scope)
    let (text, flow) = try capture(body, in: inner)
    guard flow == .normal else { return flow }
    var value = Value.string(text)
    if let filters {
      value = try applyFilters(filters, to: value, in: inner)
    }
    try checkNamespaces(of: target, in: scope)
    try assign(value, to: target, in: scope)
    return .normal
  }

  // MARK: Loops

  private func executeLoop(
    _ loop: Jinja.ForLoop, in scope: Jinja.Scope
  ) throws(ChatTemplateError) -> Jinja.Flow {
    let values = try evaluate(loop.iterable, in: scope)
    guard loop.isRecursive else { return try runLoop(loop, over: values, in: scope, depth0: 0) }
    try write(try recurse(loop, over: values, in: scope, depth0: 0))
    return .normal
  }

  /// Runs a recursive loop over values and gives its text.
  func recurse(
    _ loop: Jinja.ForLoop, over values: Jinja.Value, in scope: Jinja.Scope, depth0: Int
  ) throws(ChatTemplateError) -> String {
    buffers.append("")
    _ = try runLoop(loop, over: values, in: scope, depth0: depth0)
    return buffers.removeLast()
  }

  private func runLoop(
    _ loop: Jinja.ForLoop, over values: Jinja.Value, in scope: Jinja.Scope, depth0: Int
  ) throws(ChatTemplateError) -> Jinja.Flow {
    var iterator = try iterator(over: values)
    if let condition = loop.condition {
      iterator = filtered(iterator, loop.target, condition, in: scope)
    }
    let state = Jinja.LoopState(
      iterator, count: loop.condition == nil ? values.count : nil, depth0: depth0,
      recursion: loop.isRecursive ? (loop, scope) : nil)
    // As in Python: a round that `continue` or `break` ended does not count for the `else`.
    var hasCompletedRound = false
    while let value = try state.next() {
      try charge(1)
      let inner = Scope(parent: scope)
      try assign(value, to: loop.target, in: inner)
      if let loopID {
        inner.set(loopID, to: .loop(state))
      }
      let flow = try execute(loop.body, in: inner)
      if flow == .breakLoop {
        break
      }
      if flow == .normal {
        hasCompletedRound = true
      }
    }
    guard !hasCompletedRound, !loop.otherwise.isEmpty else { return .normal }
    return try execute(loop.otherwise, in: Scope(parent: scope))
  }

  /// The elements for which a loop's condition holds, found one by one as the loop goes on.
  private func filtered(
    _ source: Jinja.ValueIterator, _ target: Jinja.Target, _ condition: Jinja.Expression,
    in scope: Jinja.Scope
  ) -> Jinja.ValueIterator {
    Jinja.ValueIterator { () throws(ChatTemplateError) -> Jinja.Value? in
      while let value = try source.next() {
        try self.charge(1)
        let inner = Scope(parent: scope)
        try self.assign(value, to: target, in: inner)
        if try self.isTrue(condition, in: inner) {
          return value
        }
      }
      return nil
    }
  }

  // MARK: Assignments

  private func checkNamespaces(
    of target: Jinja.Target, in scope: Jinja.Scope
  ) throws(ChatTemplateError) {
    switch target {
    case .name: break
    case .attribute(let id, _):
      guard case .namespace = scope.value(of: id) else {
        throw failure("cannot assign an attribute of '\(program.names[id])': no namespace")
      }
    case .tuple(let targets):
      for target in targets {
        try checkNamespaces(of: target, in: scope)
      }
    }
  }

  private func assign(
    _ value: Jinja.Value, to target: Jinja.Target, in scope: Jinja.Scope
  ) throws(ChatTemplateError) {
    switch target {
    case .name(let id):
      scope.set(id, to: value)
    case .attribute(let id, let name):
      guard case .namespace(let namespace) = scope.value(of: id) else {
        throw failure("cannot assign an attribute of '\(program.names[id])': no namespace")
      }
      try checkAttributeName(name)
      namespace.set(name, to: value)
    case .tuple(let targets):
      let values = try unpack(value, count: targets.count)
      for (target, value) in zip(targets, values) {
        try assign(value, to: target, in: scope)
      }
    }
  }

  func checkAttributeName(_ name: String) throws(ChatTemplateError) {
    guard !name.hasPrefix("_") else {
      throw failure("the attribute '\(name)' of a namespace must not begin with '_'")
    }
  }

  private func unpack(
    _ value: Jinja.Value, count: Int
  ) throws(ChatTemplateError) -> [Jinja.Value] {
    let source = try iterator(over: value)
    var values: [Value] = []
    while values.count <= count, let value = try source.next() {
      values.append(value)
    }
    guard values.count == count else {
      let found = values.count > count ? "more than \(count)" : "\(values.count)"
      throw failure("cannot unpack \(found) values into \(count) names")
    }
    return values
  }
}
