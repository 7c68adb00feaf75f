extension Jinja.Interpreter {
  private typealias Value = Jinja.Value
  private typealias Arguments = Jinja.Arguments

  /// Evaluates a call; `caller` is the block of a `call` tag.
  func evaluateCall(
    _ expression: Jinja.Expression, in scope: Jinja.Scope, caller: Jinja.Value?
  ) throws(ChatTemplateError) -> Jinja.Value {
    guard case .call(let callee, let call) = expression.kind else {
      throw failure("only a call can be called")
    }
    let function = try evaluate(callee, in: scope)
    var arguments = try evaluate(call, in: scope)
    if let caller {
      arguments.keywords.append(("caller", caller))
    }
    return try self.call(function, arguments)
  }

  private func call(
    _ function: Jinja.Value, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    switch function {
    case .macro(let macro):
      return .string(try call(macro, arguments))
    case .method(let method):
      return try call(method, arguments)
    case .function(let function):
      return try call(function, arguments)
    case .loop(let loop):
      guard let recursion = loop.recursion else {
        throw failure("'loop' can be called only when the loop is marked 'recursive'")
      }
      let values = try arguments.bind(["iterable"], required: 1, for: "loop", self)
      return .string(
        try recurse(
          recursion.loop, over: values[0] ?? .none, in: recursion.scope, depth0: loop.depth0 + 1))
    case .undefined(let missing):
      throw failure(missing.message)
    default:
      throw failure("a \(function.typeName) cannot be called")
    }
  }

  // MARK: Macros

  private func call(
    _ macro: Jinja.Macro, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> String {
    let definition = macro.definition
    let name = definition.name ?? "caller"
    var keywords = arguments.keywords
    func take(_ name: String) -> Value? {
      guard let index = keywords.firstIndex(where: { $0.name == name }) else { return nil }
      return keywords.remove(at: index).value
    }
    let scope = Jinja.Scope(parent: macro.scope)
    var given: [Value?] = []
    for (index, parameter) in definition.parameters.enumerated() {
      let isPositional = index < arguments.positional.count
      let value = isPositional ? arguments.positional[index] : take(parameter.name)
      given.append(value)
      let missing = Value.undefined(.hint("parameter '\(parameter.name)' was not provided"))
      scope.set(parameter.id, to: value ?? missing)
    }
    if definition.usesCaller {
      bind("caller", take("caller") ?? .undefined(.hint("no caller is defined")), in: scope)
    }
    if definition.usesKeywords {
      var mapping = Jinja.Mapping()
      for keyword in keywords {
        mapping.set(.string(keyword.name), to: keyword.value)
      }
      bind("kwargs", .dictionary(mapping), in: scope)
    } else if let unknown = keywords.first {
      throw failure("the macro '\(name)' has no argument '\(unknown.name)'")
    }
    let extra = arguments.positional.dropFirst(definition.parameters.count)
    if definition.usesPositionals {
      bind("varargs", .tuple(Array(extra)), in: scope)
    } else if !extra.isEmpty {
      throw failure(
        "the macro '\(name)' takes at most \(definition.parameters.count) arguments, "
          + "not \(arguments.positional.count)")
    }
    let callLine = line
    try enter()
    let firstDefault = definition.parameters.count - definition.defaults.count
    for (index, parameter) in definition.parameters.enumerated()
    where given[index] == nil && index >= firstDefault {
      let value = try evaluate(definition.defaults[index - firstDefault], in: scope)
      scope.set(parameter.id, to: value)
    }
    let text = try capture(definition.body, in: scope).text
    leave()
    line = callLine
    return text
  }

  private func bind(_ name: String, _ value: Jinja.Value, in scope: Jinja.Scope) {
    if let id = program.names.firstIndex(of: name) {
      scope.set(id, to: value)
    }
  }

  // MARK: Functions

  private func call(
    _ function: Jinja.Function, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    switch function {
    case .range:
      return .range(try range(arguments))
    case .dict:
      return .dictionary(try dictionary(arguments))
    case .namespace:
      let namespace = Jinja.Namespace()
      for pair in try dictionary(arguments).pairs {
        guard let name = pair.key.text else {
          throw failure("the attributes of a namespace have strings as names")
        }
        try checkAttributeName(name)
        namespace.set(name, to: pair.value)
      }
      return .namespace(namespace)
    case .raiseException:
      let values = try arguments.bind(["message"], required: 1, for: function.rawValue, self)
      throw .raised(line: line, message: try string(values[0] ?? .none))
    case .strftimeNow:
      let values = try arguments.bind(["format"], required: 1, for: function.rawValue, self)
      guard let format = values[0]?.text else { throw failure("a date format is a string") }
      return .string(clock().text(format: format))
    case .dictFromKeys:
      let values = try arguments.bind(
        ["iterable", "value"], required: 1, for: function.rawValue, self)
      var mapping = Jinja.Mapping()
      for key in try elements(of: values[0] ?? .none) {
        try set(key, values[1] ?? .none, in: &mapping)
      }
      return .dictionary(mapping)
    }
  }

  func set(
    _ key: Jinja.Value, _ value: Jinja.Value, in mapping: inout Jinja.Mapping
  ) throws(ChatTemplateError) {
    guard mapping.set(key, to: value) else {
      throw failure("a \(key.typeName) cannot be the key of a dictionary")
    }
  }

  private func range(
    _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.RangeValue {
    guard arguments.keywords.isEmpty, (1...3).contains(arguments.positional.count) else {
      throw failure("'range' takes one to three positional arguments")
    }
    var numbers: [Int] = []
    for value in arguments.positional {
      guard let number = value.integer else {
        throw failure("'range' takes integers, not a \(value.typeName)")
      }
      numbers.append(number)
    }
    let start = numbers.count == 1 ? 0 : numbers[0]
    let stop = numbers.count == 1 ? numbers[0] : numbers[1]
    let step = numbers.count == 3 ? numbers[2] : 1
    guard step != 0 else { throw failure("the step of a range cannot be zero") }
    let count = Swift.stride(from: start, to: stop, by: step).prefix(
      Jinja.RangeValue.maximumCount + 1
    ).reduce(into: 0) { count, _ in count += 1 }
    guard count <= Jinja.RangeValue.maximumCount else {
      throw .limitExceeded(
        line: line, limit: "a range has more than \(Jinja.RangeValue.maximumCount) numbers")
    }
    try charge(count)
    return Jinja.RangeValue(start: start, stop: stop, step: step, count: count)
  }

  private func dictionary(
    _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Mapping {
    guard arguments.positional.count <= 1 else {
      throw failure("'dict' takes at most one positional argument")
    }
    var mapping = Jinja.Mapping()
    switch arguments.positional.first {
    case nil:
      break
    case .dictionary(let other):
      mapping = other
    case let pairs?:
      for pair in try elements(of: pairs) {
        let parts = try elements(of: pair)
        guard parts.count == 2 else {
          throw failure("'dict' needs pairs, not \(parts.count) values")
        }
        try set(parts[0], parts[1], in: &mapping)
      }
    }
    for keyword in arguments.keywords {
      mapping.set(.string(keyword.name), to: keyword.value)
    }
    return mapping
  }
}
