extension Jinja.Interpreter {
  private typealias Value = Jinja.Value

  /// The value of an expression.
  func evaluate(
    _ expression: Jinja.Expression, in scope: Jinja.Scope
  ) throws(ChatTemplateError) -> Jinja.Value {
    switch expression.kind {
    case .none: return .none
    case .bool(let value): return .bool(value)
    case .integer(let value): return .int(value)
    case .float(let value): return .float(value)
    case .string(let text): return .string(text)
    case .name(let id):
      return scope.value(of: id) ?? .undefined(.name(program.names[id]))
    default:
      try enter()
      let value = try evaluateTree(expression, in: scope)
      leave()
      return value
    }
  }

  private func evaluateTree(
    _ expression: Jinja.Expression, in scope: Jinja.Scope
  ) throws(ChatTemplateError) -> Jinja.Value {
    switch expression.kind {
    case .attribute(let object, let name):
      return try attribute(name, of: try evaluate(object, in: scope))
    case .item(let object, let index):
      let object = try evaluate(object, in: scope)
      return try item(try evaluate(index, in: scope), of: object)
    case .and(let left, let right):
      let value = try evaluate(left, in: scope)
      return value.isTrue ? try evaluate(right, in: scope) : value
    case .or(let left, let right):
      let value = try evaluate(left, in: scope)
      return value.isTrue ? value : try evaluate(right, in: scope)
    case .not(let operand):
      return .bool(!(try isTrue(operand, in: scope)))
    case .binary(let operation, let left, let right):
      let left = try evaluate(left, in: scope)
      return try binary(operation, left, try evaluate(right, in: scope))
    case .comparison(let first, let rest):
      return try evaluateComparison(first, rest, in: scope)
    case .call:
      return try evaluateCall(expression, in: scope, caller: nil)
    case .filter(let input, let filter, let name, let arguments):
      guard let input else { throw failure("the filter '\(name)' has no input") }
      let value = try evaluate(input, in: scope)
      return try apply(filter, name, to: value, arguments, in: scope)
    case .test(let input, let test, let name, let arguments):
      guard let test else { throw failure("no test is named '\(name)'") }
      let value = try evaluate(input, in: scope)
      let arguments = try evaluate(arguments, in: scope)
      return .bool(try holds(test, value, arguments))
    case .conditional(let test, let then, let otherwise):
      if try isTrue(test, in: scope) {
        return try evaluate(then, in: scope)
      }
      guard let otherwise else {
        return .undefined(.hint("the inline 'if' was false and has no 'else'"))
      }
      return try evaluate(otherwise, in: scope)
    default:
      return try evaluateConstruction(expression, in: scope)
    }
  }

  private func evaluateConstruction(
    _ expression: Jinja.Expression, in scope: Jinja.Scope
  ) throws(ChatTemplateError) -> Jinja.Value {
    switch expression.kind {
    case .concatenation(let items):
      var text = ""
      for item in items {
        let part = try string(try evaluate(item, in: scope))
        try chargeText(text.utf8.count + part.utf8.count)
        text += part
      }
      return .string(text)
    case .list(let items):
      return .list(try evaluate(items, in: scope))
    case .tuple(let items):
      return .tuple(try evaluate(items, in: scope))
    case .dictionary(let pairs):
      var mapping = Jinja.Mapping()
      for pair in pairs {
        let key = try evaluate(pair.key, in: scope)
        guard mapping.set(key, to: try evaluate(pair.value, in: scope)) else {
          throw failure("a \(key.typeName) cannot be the key of a dictionary")
        }
      }
      return .dictionary(mapping)
    case .slice(let object, let start, let stop, let step):
      let object = try evaluate(object, in: scope)
      return try slice(
        object, start: try evaluateBound(start, in: scope),
        stop: try evaluateBound(stop, in: scope), step: try evaluateBound(step, in: scope))
    case .negate(let operand):
      return try negate(try evaluate(operand, in: scope))
    case .plus(let operand):
      let value = try evaluate(operand, in: scope)
      if case .float = value {
        return value
      }
      guard let number = value.integer else { throw typeError("+", value) }
      return .int(number)
    default:
      throw failure("an expression of unknown kind")
    }
  }

  private func evaluateBound(
    _ expression: Jinja.Expression?, in scope: Jinja.Scope
  ) throws(ChatTemplateError) -> Jinja.Value {
    guard let expression else { return .none }
    return try evaluate(expression, in: scope)
  }

  private func evaluate(
    _ items: [Jinja.Expression], in scope: Jinja.Scope
  ) throws(ChatTemplateError) -> [Jinja.Value] {
    var values: [Value] = []
    values.reserveCapacity(items.count)
    for item in items {
      values.append(try evaluate(item, in: scope))
    }
    return values
  }

  /// Evaluates the arguments of a call.
  func evaluate(
    _ call: Jinja.CallArguments, in scope: Jinja.Scope
  ) throws(ChatTemplateError) -> Jinja.Arguments {
    guard !call.isEmpty else { return Jinja.Arguments() }
    var arguments = Jinja.Arguments(positional: try evaluate(call.positional, in: scope))
    for keyword in call.keywords {
      arguments.keywords.append((keyword.name, try evaluate(keyword.value, in: scope)))
    }
    if let variadic = call.variadic {
      arguments.positional += try elements(of: try evaluate(variadic, in: scope))
    }
    if let variadic = call.variadicKeywords {
      let value = try evaluate(variadic, in: scope)
      guard case .dictionary(let mapping) = value else {
        throw failure("what follows '**' is a \(value.typeName), not a dictionary")
      }
      for pair in mapping.pairs {
        guard let name = pair.key.text else { throw failure("the names of arguments are strings") }
        guard !arguments.keywords.contains(where: { PythonText.equal($0.name, name) }) else {
          throw failure("the argument '\(name)' is given twice")
        }
        arguments.keywords.append((name, pair.value))
      }
    }
    return arguments
  }

  private func evaluateComparison(
    _ first: Jinja.Expression, _ rest: [(Jinja.ComparisonOperator, Jinja.Expression)],
    in scope: Jinja.Scope
  ) throws(ChatTemplateError) -> Jinja.Value {
    var left = try evaluate(first, in: scope)
    for (comparison, expression) in rest {
      let right = try evaluate(expression, in: scope)
      guard try compare(comparison, left, right) else { return .bool(false) }
      left = right
    }
    return .bool(true)
  }

  // MARK: Filters in a syntax tree

  private func apply(
    _ filter: Jinja.Filter?, _ name: String, to value: Jinja.Value,
    _ arguments: Jinja.CallArguments, in scope: Jinja.Scope
  ) throws(ChatTemplateError) -> Jinja.Value {
    guard let filter else { throw failure("no filter is named '\(name)'") }
    return try apply(filter, to: value, try evaluate(arguments, in: scope))
  }

  /// Applies the chain of filters of a block to the block's text.
  func applyFilters(
    _ filters: Jinja.Expression, to input: Jinja.Value, in scope: Jinja.Scope
  ) throws(ChatTemplateError) -> Jinja.Value {
    guard case .filter(let inner, let filter, let name, let arguments) = filters.kind else {
      throw failure("a block can only be filtered by filters")
    }
    try enter()
    var value = input
    if let inner {
      value = try applyFilters(inner, to: input, in: scope)
    }
    value = try apply(filter, name, to: value, arguments, in: scope)
    leave()
    return value
  }
}
