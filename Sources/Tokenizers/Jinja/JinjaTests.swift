extension Jinja {
  /// What can stand after `is`.
  enum Test: String, CaseIterable, Sendable {
    case odd, even, divisibleby, defined, undefined, filter, test, none, boolean
    case `false`
    case `true`
    case integer, float, lower, upper, string, mapping, number, sequence, iterable, callable
    case sameas, escaped
    case contained = "in"
    case equal = "=="
    case eq, equalto
    case notEqual = "!="
    case ne
    case greater = ">"
    case gt, greaterthan
    case greaterOrEqual = ">="
    case ge
    case less = "<"
    case lt, lessthan
    case lessOrEqual = "<="
    case le

    /// The comparison that the test makes, for those that make one.
    fileprivate var comparison: ComparisonOperator? {
      switch self {
      case .equal, .eq, .equalto: .equal
      case .notEqual, .ne: .notEqual
      case .greater, .gt, .greaterthan: .greater
      case .greaterOrEqual, .ge: .greaterOrEqual
      case .less, .lt, .lessthan: .less
      case .lessOrEqual, .le: .lessOrEqual
      case .contained: .contained
      default: nil
      }
    }
  }
}

extension Jinja.Interpreter {
  private typealias Value = Jinja.Value

  /// Whether a test holds for a value.
  func holds(
    _ test: Jinja.Test, _ value: Jinja.Value, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Bool {
    if let comparison = test.comparison {
      let values = try arguments.bind(["other"], required: 1, for: test.rawValue, self)
      return try compare(comparison, value, values[0] ?? .none)
    }
    switch test {
    case .sameas:
      let values = try arguments.bind(["other"], required: 1, for: test.rawValue, self)
      return Value.identical(value, values[0] ?? .none)
    case .divisibleby:
      let values = try arguments.bind(["num"], required: 1, for: test.rawValue, self)
      return Value.equal(try binary(.modulo, value, values[0] ?? .none), .int(0))
    default:
      _ = try arguments.bind([], for: test.rawValue, self)
      return try holds(test, value)
    }
  }

  private func holds(
    _ test: Jinja.Test, _ value: Jinja.Value
  ) throws(ChatTemplateError) -> Bool {
    switch (test, value) {
    case (.odd, _): return Value.equal(try binary(.modulo, value, .int(2)), .int(1))
    case (.even, _): return Value.equal(try binary(.modulo, value, .int(2)), .int(0))
    case (.defined, _): return !value.isUndefined
    case (.undefined, _): return value.isUndefined
    case (.filter, _): return value.text.flatMap(Jinja.Filter.init) != nil
    case (.test, _): return value.text.flatMap(Jinja.Test.init) != nil
    case (.none, _): return value.isNone
    case (.boolean, .bool): return true
    case (.true, .bool(let flag)): return flag
    case (.false, .bool(let flag)): return !flag
    case (.integer, .int): return true
    case (.float, .float): return true
    case (.lower, _): return PythonText.hasOnlyCase(upper: false, try string(value))
    case (.upper, _): return PythonText.hasOnlyCase(upper: true, try string(value))
    case (.string, _): return value.text != nil
    case (.mapping, .dictionary): return true
    case (.number, _): return value.double != nil
    case (.sequence, _): return isSequence(value)
    case (.iterable, _): return isIterable(value)
    case (.callable, .macro), (.callable, .function), (.callable, .method): return true
    case (.callable, .loop), (.callable, .undefined): return true
    case (.escaped, .markup): return true
    default: return false
    }
  }

  /// Whether the value has a length and items.
  private func isSequence(_ value: Jinja.Value) -> Bool {
    switch value {
    case .string, .markup, .list, .tuple, .range, .dictionary, .undefined: true
    default: false
    }
  }

  private func isIterable(_ value: Jinja.Value) -> Bool {
    switch value {
    case .string, .markup, .list, .tuple, .range, .dictionary, .view, .iterator, .loop, .undefined:
      true
    default:
      false
    }
  }
}
