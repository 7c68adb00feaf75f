import Foundation

extension Jinja.Interpreter {
  private typealias Value = Jinja.Value

  func typeError(_ operation: String, _ value: Jinja.Value) -> ChatTemplateError {
    if case .undefined(let missing) = value {
      return failure(missing.message)
    }
    return failure("'\(operation)' does not work on a \(value.typeName)")
  }

  private func typeError(
    _ operation: String, _ left: Jinja.Value, _ right: Jinja.Value
  ) -> ChatTemplateError {
    for case .undefined(let missing) in [left, right] {
      return failure(missing.message)
    }
    return failure("'\(operation)' does not work on a \(left.typeName) and a \(right.typeName)")
  }

  func negate(_ value: Jinja.Value) throws(ChatTemplateError) -> Jinja.Value {
    if case .float(let number) = value {
      return .float(-number)
    }
    guard let number = value.integer else { throw typeError("-", value) }
    return .int(try checked(0.subtractingReportingOverflow(number)))
  }

  /// The value of an operation between two operands.
  func binary(
    _ operation: Jinja.BinaryOperator, _ left: Jinja.Value, _ right: Jinja.Value
  ) throws(ChatTemplateError) -> Jinja.Value {
    if let left = left.integer, let right = right.integer {
      return try integers(operation, left, right)
    }
    if let left = left.double, let right = right.double {
      return .float(try floats(operation, left, right))
    }
    switch operation {
    case .add:
      return try sum(left, right)
    case .multiply:
      if let count = right.integer {
        return try repeated(left, count, or: right)
      }
      if let count = left.integer {
        return try repeated(right, count, or: left)
      }
    case .modulo:
      if let text = left.text {
        return .string(try percentFormat(text, right))
      }
    default:
      break
    }
    throw typeError(operation.rawValue, left, right)
  }

  private func sum(
    _ left: Jinja.Value, _ right: Jinja.Value
  ) throws(ChatTemplateError) -> Jinja.Value {
    switch (left, right) {
    case (.string(let left), .string(let right)):
      try chargeText(left.utf8.count + right.utf8.count)
      return .string(left + right)
    case (.markup(let left), .markup(let right)):
      return .markup(left + right)
    case (.markup(let left), .string(let right)):
      return .markup(left + Self.escaped(right))
    case (.string(let left), .markup(let right)):
      return .markup(Self.escaped(left) + right)
    case (.list(let left), .list(let right)):
      try charge(left.count + right.count)
      return .list(left + right)
    case (.tuple(let left), .tuple(let right)):
      try charge(left.count + right.count)
      return .tuple(left + right)
    default:
      throw typeError("+", left, right)
    }
  }

  private func repeated(
    _ value: Jinja.Value, _ count: Int, or other: Jinja.Value
  ) throws(ChatTemplateError) -> Jinja.Value {
    let count = max(0, count)
    switch value {
    case .string(let text), .markup(let text):
      let (bytes, overflow) = text.utf8.count.multipliedReportingOverflow(by: count)
      try chargeText(overflow ? .max : bytes)
      return .string(String(repeating: text, count: count))
    case .list(let items), .tuple(let items):
      let (size, overflow) = items.count.multipliedReportingOverflow(by: count)
      try charge(overflow ? limits.work : size)
      let all = Array(repeatElement(items, count: items.isEmpty ? 0 : count).joined())
      if case .list = value {
        return .list(all)
      }
      return .tuple(all)
    default:
      throw typeError("*", value, other)
    }
  }

  /// The text with the characters that HTML gives a meaning replaced.
  static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "'": result += "&#39;"
      case "\"": result += "&#34;"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  // MARK: Numbers

  private func checked(
    _ result: (partialValue: Int, overflow: Bool)
  ) throws(ChatTemplateError) -> Int {
    guard !result.overflow else { throw failure("an integer does not fit 64 bits") }
    return result.partialValue
  }

  private func integers(
    _ operation: Jinja.BinaryOperator, _ left: Int, _ right: Int
  ) throws(ChatTemplateError) -> Jinja.Value {
    switch operation {
    case .add: return .int(try checked(left.addingReportingOverflow(right)))
    case .subtract: return .int(try checked(left.subtractingReportingOverflow(right)))
    case .multiply: return .int(try checked(left.multipliedReportingOverflow(by: right)))
    case .divide: return .float(try floats(.divide, Double(left), Double(right)))
    case .floorDivide, .modulo:
      guard right != 0 else { throw failure("division by zero") }
      guard right != -1 else {
        return operation == .modulo ? .int(0) : try negate(.int(left))
      }
      // Python rounds towards minus infinity: the rest has the sign of the divisor.
      let (quotient, rest) = left.quotientAndRemainder(dividingBy: right)
      let isShifted = rest != 0 && (rest < 0) != (right < 0)
      if operation == .modulo {
        return .int(isShifted ? rest + right : rest)
      }
      return .int(isShifted ? quotient - 1 : quotient)
    case .power:
      guard right >= 0 else { return .float(try floats(.power, Double(left), Double(right))) }
      return .int(try power(left, right))
    }
  }

  private func power(_ base: Int, _ exponent: Int) throws(ChatTemplateError) -> Int {
    if base == 0 || base == 1 || base == -1 {
      return exponent == 0 ? 1 : base == -1 && exponent % 2 == 0 ? 1 : base
    }
    guard exponent < 64 else { throw failure("an integer does not fit 64 bits") }
    var result = 1
    for _ in 0..<exponent {
      result = try checked(result.multipliedReportingOverflow(by: base))
    }
    return result
  }

  private func floats(
    _ operation: Jinja.BinaryOperator, _ left: Double, _ right: Double
  ) throws(ChatTemplateError) -> Double {
    switch operation {
    case .add: return left + right
    case .subtract: return left - right
    case .multiply: return left * right
    case .divide:
      guard right != 0 else { throw failure("division by zero") }
      return left / right
    case .floorDivide, .modulo:
      guard right != 0 else { throw failure("division by zero") }
      var rest = left.truncatingRemainder(dividingBy: right)
      var quotient = (left - rest) / right
      if rest != 0 {
        if (right < 0) != (rest < 0) {
          rest += right
          quotient -= 1
        }
      } else {
        rest = right < 0 ? -0.0 : 0.0
      }
      if operation == .modulo {
        return rest
      }
      guard quotient != 0 else { return left / right < 0 ? -0.0 : 0.0 }
      let floor = quotient.rounded(.down)
      return quotient - floor > 0.5 ? floor + 1 : floor
    case .power:
      guard left != 0 || right >= 0 else { throw failure("zero has no negative power") }
      guard left >= 0 || right == right.rounded() else {
        throw failure("a negative number has no real power of a fraction")
      }
      let result = pow(left, right)
      guard !result.isInfinite || left.isInfinite || right.isInfinite else {
        throw failure("a number is too large")
      }
      return result
    }
  }

  // MARK: Comparisons

  func compare(
    _ comparison: Jinja.ComparisonOperator, _ left: Jinja.Value, _ right: Jinja.Value
  ) throws(ChatTemplateError) -> Bool {
    switch comparison {
    case .equal: return Value.equal(left, right)
    case .notEqual: return !Value.equal(left, right)
    case .contained: return try contains(right, left)
    case .notContained: return !(try contains(right, left))
    case .less, .lessOrEqual, .greater, .greaterOrEqual:
      guard let order = Value.order(left, right) else {
        throw typeError(comparison.rawValue, left, right)
      }
      switch comparison {
      case .less: return order == .less
      case .lessOrEqual: return order == .less || order == .same
      case .greater: return order == .greater
      default: return order == .greater || order == .same
      }
    }
  }

  /// Whether `item in container` holds.
  func contains(
    _ container: Jinja.Value, _ item: Jinja.Value
  ) throws(ChatTemplateError) -> Bool {
    switch container {
    case .string(let text), .markup(let text):
      guard let part = item.text else {
        throw failure("'in' a string needs a string, not a \(item.typeName)")
      }
      try chargeText(text.utf8.count)
      return part.isEmpty
        || !PythonText.occurrences(of: Array(part.utf8), in: Array(text.utf8), limit: 1).isEmpty
    case .dictionary(let mapping):
      guard let key = Jinja.Key(item) else {
        throw failure("a \(item.typeName) cannot be the key of a dictionary")
      }
      return mapping.value(of: key) != nil
    default:
      let source = try iterator(over: container)
      while let value = try source.next() {
        try charge(1)
        if Value.equal(value, item) {
          return true
        }
      }
      return false
    }
  }
}
