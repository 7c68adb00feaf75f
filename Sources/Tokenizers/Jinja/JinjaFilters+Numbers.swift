import Foundation

extension Jinja.Interpreter {
  private typealias Value = Jinja.Value

  func applyNumberFilter(
    _ filter: Jinja.Filter, to value: Jinja.Value, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    switch filter {
    case .abs:
      _ = try arguments.bind([], for: filter.rawValue, self)
      if case .float(let number) = value {
        return .float(Swift.abs(number))
      }
      guard let number = value.integer else { throw typeError("abs", value) }
      return number < 0 ? try negate(.int(number)) : .int(number)
    case .int:
      let values = try arguments.bind(["default", "base"], for: filter.rawValue, self)
      let base = (values[1] ?? .int(10)).integer ?? 10
      return try integer(value, base: base) ?? values[0] ?? .int(0)
    case .float:
      let values = try arguments.bind(["default"], for: filter.rawValue, self)
      if case .undefined(let missing) = value {
        throw failure(missing.message)
      }
      if let number = value.double ?? value.text.flatMap(PythonText.number) {
        return .float(number)
      }
      return values[0] ?? .float(0)
    case .round:
      return try rounded(value, arguments)
    case .sum:
      let values = try arguments.bind(["attribute", "start"], for: filter.rawValue, self)
      let path = try path(of: values[0])
      var total = values[1] ?? .int(0)
      if total.text != nil {
        throw failure("'sum' does not add strings; use 'join'")
      }
      for item in try elements(of: value) {
        total = try binary(.add, total, try follow(path, from: item))
      }
      return total
    default:
      return .string(try fileSize(value, arguments))
    }
  }

  private func integer(
    _ value: Jinja.Value, base: Int
  ) throws(ChatTemplateError) -> Jinja.Value? {
    if case .undefined(let missing) = value {
      throw failure(missing.message)
    }
    if let number = value.integer {
      return .int(number)
    }
    var number = value.double
    if let text = value.text {
      if let parsed = PythonText.integer(text, base: base) {
        return .int(parsed)
      }
      number = PythonText.number(text)
    }
    guard let number, number.isFinite else { return nil }
    guard let exact = Int(exactly: number.rounded(.towardZero)) else {
      throw failure("an integer does not fit 64 bits")
    }
    return .int(exact)
  }

  private func rounded(
    _ value: Jinja.Value, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    let values = try arguments.bind(["precision", "method"], for: "round", self)
    guard let precision = (values[0] ?? .int(0)).integer, Swift.abs(precision) < 300 else {
      throw failure("'precision' of 'round' is a small integer")
    }
    let method = values[1]?.text ?? "common"
    guard let number = value.double else { throw typeError("round", value) }
    switch method {
    case "common":
      if let integer = value.integer {
        guard precision < 0 else { return .int(integer) }
        return .int(Int(roundHalfEven(number, precision)))
      }
      return .float(roundHalfEven(number, precision))
    case "ceil", "floor":
      let scale = pow(10, Double(precision))
      let scaled = (number * scale).rounded(method == "ceil" ? .up : .down)
      return .float(scaled / scale)
    default:
      throw failure("'method' of 'round' is \"common\", \"ceil\" or \"floor\"")
    }
  }

  /// Python's `round`: the nearest decimal to the exact binary value, ties to even.
  private func roundHalfEven(_ number: Double, _ precision: Int) -> Double {
    guard number.isFinite else { return number }
    if precision >= 0 {
      return Double(String(format: "%.\(precision)f", number)) ?? number
    }
    let scale = pow(10, Double(-precision))
    return (number / scale).rounded(.toNearestOrEven) * scale
  }

  private func fileSize(
    _ value: Jinja.Value, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> String {
    let values = try arguments.bind(["binary"], for: "filesizeformat", self)
    guard let bytes = value.double ?? value.text.flatMap(PythonText.number) else {
      throw typeError("filesizeformat", value)
    }
    let isBinary = values[0]?.isTrue ?? false
    let base: Double = isBinary ? 1024 : 1000
    if bytes == 1 {
      return "1 Byte"
    }
    guard bytes >= base else { return "\(Int(bytes)) Bytes" }
    let prefixes = isBinary ? "KMGTPEZY" : "kMGTPEZY"
    var unit = base
    var prefix: Character = "k"
    for candidate in prefixes {
      prefix = candidate
      unit *= base
      if bytes < unit {
        break
      }
    }
    return String(format: "%.1f ", base * bytes / unit) + String(prefix) + (isBinary ? "iB" : "B")
  }
}

extension PythonText {
  /// `float(text)`.
  static func number(_ text: String) -> Double? {
    let stripped = strip(text)
    guard let digits = withoutSeparators(stripped) else { return nil }
    switch lower(digits) {
    case "inf", "+inf", "infinity", "+infinity": return .infinity
    case "-inf", "-infinity": return -.infinity
    case "nan", "+nan", "-nan": return .nan
    default: break
    }
    let allowed = digits.utf8.allSatisfy {
      (48...57).contains($0) || [0x2B, 0x2D, 0x2E, 0x45, 0x65].contains($0)
    }
    return allowed ? strtodWhole(digits) : nil
  }

  private static func strtodWhole(_ text: String) -> Double? {
    guard !text.isEmpty else { return nil }
    return text.withCString { start in
      var end: UnsafeMutablePointer<CChar>?
      let value = strtod(start, &end)
      return end.map { $0.pointee == 0 } == true ? value : nil
    }
  }

  /// `int(text, base)`.
  static func integer(_ text: String, base: Int) -> Int? {
    guard base == 0 || (2...36).contains(base) else { return nil }
    guard var digits = withoutSeparators(strip(text)) else { return nil }
    var sign = ""
    if digits.hasPrefix("-") || digits.hasPrefix("+") {
      sign = digits.hasPrefix("-") ? "-" : ""
      digits.removeFirst()
    }
    var radix = base
    let prefixes = ["0x": 16, "0o": 8, "0b": 2]
    if let prefix = prefixes[lower(String(digits.prefix(2)))], base == 0 || base == prefix {
      radix = prefix
      digits.removeFirst(2)
    } else if base == 0 {
      radix = 10
    }
    guard let first = digits.utf8.first, first != 0x2B, first != 0x2D else { return nil }
    return Int(sign + digits, radix: radix)
  }

  /// The text without single underscores between digits; nil when they are misplaced.
  private static func withoutSeparators(_ text: String) -> String? {
    guard text.utf8.contains(0x5F) else { return text }
    guard !text.hasPrefix("_"), !text.hasSuffix("_"),
      occurrences(of: [0x5F, 0x5F], in: Array(text.utf8)).isEmpty
    else { return nil }
    return String(decoding: text.utf8.filter { $0 != 0x5F }, as: UTF8.self)
  }
}
