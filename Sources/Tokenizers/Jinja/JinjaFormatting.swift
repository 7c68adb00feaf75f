extension Jinja.Interpreter {
  private typealias Value = Jinja.Value

  /// `text % values`, which is also what the filter `format` does.
  func percentFormat(
    _ text: String, _ values: Jinja.Value
  ) throws(ChatTemplateError) -> String {
    let scalars = Array(text.unicodeScalars)
    var arguments: [Value] = [values]
    if case .tuple(let several) = values {
      arguments = several
    }
    var used = 0
    func nextArgument() throws(ChatTemplateError) -> Value {
      guard used < arguments.count else { throw failure("a format has too few arguments") }
      used += 1
      return arguments[used - 1]
    }
    var result = ""
    var usesNames = false
    var index = 0
    while index < scalars.count {
      let scalar = scalars[index]
      index += 1
      guard scalar == "%" else {
        result.unicodeScalars.append(scalar)
        continue
      }
      var named: Value?
      if index < scalars.count, scalars[index] == "(" {
        guard let end = scalars[index...].firstIndex(of: ")"),
          case .dictionary(let mapping) = values
        else { throw failure("a format with names needs a dictionary") }
        let name = PythonText.string(scalars[(index + 1)..<end])
        guard let found = mapping.value(of: name) else {
          throw failure("a format needs the value '\(name)'")
        }
        named = found
        usesNames = true
        index = end + 1
      }
      var format = PythonFormat()
      while index < scalars.count, "-+ #0".unicodeScalars.contains(scalars[index]) {
        switch scalars[index] {
        case "-": format.alignment = .left
        case "+": format.positiveSign = "+"
        case " ": format.positiveSign = format.positiveSign.isEmpty ? " " : format.positiveSign
        case "#": format.isAlternate = true
        default:
          if format.alignment == nil {
            format.alignment = .afterSign
            format.fill = "0"
          }
        }
        index += 1
      }
      func size() throws(ChatTemplateError) -> Int? {
        if index < scalars.count, scalars[index] == "*" {
          index += 1
          guard let number = try nextArgument().integer else {
            throw failure("'*' in a format needs an integer")
          }
          return number
        }
        return try decimal(scalars, &index)
      }
      if let width = try size() {
        format.width = abs(width)
        if width < 0 {
          format.alignment = .left
        }
      }
      if index < scalars.count, scalars[index] == "." {
        index += 1
        format.precision = Swift.max(0, try size() ?? 0)
      }
      while index < scalars.count, "hlL".unicodeScalars.contains(scalars[index]) {
        index += 1
      }
      guard index < scalars.count else { throw failure("a format ends after '%'") }
      let type = scalars[index]
      index += 1
      if type == "%" {
        result += "%"
        continue
      }
      if format.alignment == .left {
        format.fill = " "
      }
      format.type = type
      let value = if let named { named } else { try nextArgument() }
      result += try percentText(value, format)
      try chargeText(result.utf8.count)
    }
    if !usesNames, used < arguments.count, isCounted(values) {
      throw failure("a format has too many arguments")
    }
    return result
  }

  /// Python complains about unused arguments unless they are one value with items.
  private func isCounted(_ values: Jinja.Value) -> Bool {
    switch values {
    case .dictionary, .list, .range, .undefined: false
    default: true
    }
  }

  private func decimal(
    _ scalars: [Unicode.Scalar], _ index: inout Int
  ) throws(ChatTemplateError) -> Int? {
    var digits = ""
    while index < scalars.count, ("0"..."9").contains(scalars[index]) {
      digits.unicodeScalars.append(scalars[index])
      index += 1
    }
    guard !digits.isEmpty else { return nil }
    guard let number = Int(digits), number <= 1_000_000 else {
      throw .limitExceeded(line: line, limit: "a format asks for more than a million characters")
    }
    return number
  }

  private func percentText(
    _ value: Jinja.Value, _ format: PythonFormat
  ) throws(ChatTemplateError) -> String {
    var format = format
    guard format.width <= 1_000_000, (format.precision ?? 0) <= 1_000_000 else {
      throw .limitExceeded(line: line, limit: "a format asks for more than a million characters")
    }
    let type = format.type ?? "s"
    var result: String?
    switch type {
    case "s", "r", "a":
      if format.alignment == .afterSign {
        format.alignment = .right
        format.fill = " "
      }
      format.alignment = format.alignment ?? .right
      result = format.text(of: type == "s" ? try string(value) : try representation(value))
    case "c":
      let number = value.integer.flatMap { UInt32(exactly: $0) }.flatMap(Unicode.Scalar.init)
      if let one = number.map(String.init) ?? value.text, one.unicodeScalars.count == 1 {
        format.alignment = format.alignment == .left ? .left : .right
        format.precision = nil
        result = format.text(of: one)
      }
    case "d", "i", "u":
      let whole = value.double.flatMap { Int(exactly: $0.rounded(.towardZero)) }
      result = (value.integer ?? whole).flatMap { minimumDigits(format.text(of: $0), format) }
    case "x", "X", "o":
      result = value.integer.flatMap { format.text(of: $0) }
    case "f", "F", "e", "E", "g", "G":
      result = value.double.flatMap { format.text(of: $0) }
    default:
      throw failure("'%\(type)' is no format")
    }
    guard let result else { throw failure("'%\(type)' does not work on a \(value.typeName)") }
    return result
  }

  /// A precision of an integer is its least number of digits.
  private func minimumDigits(_ text: String?, _ format: PythonFormat) -> String? {
    guard let text, let precision = format.precision else { return text }
    let digits = text.filter(\.isNumber)
    guard digits.count < precision else { return text }
    let sign = text.hasPrefix("-") ? "-" : format.positiveSign
    let number = sign + String(repeating: "0", count: precision - digits.count) + digits
    var outer = format
    outer.precision = nil
    outer.alignment = format.alignment == .left ? .left : .right
    outer.fill = " "
    return outer.text(of: number)
  }

  /// What `repr(value)` gives.
  func representation(_ value: Jinja.Value) throws(ChatTemplateError) -> String {
    var writer = Jinja.TextWriter(limit: limits.textBytes)
    guard writer.writeRepresentation(value, depth: 0) else {
      throw .limitExceeded(line: line, limit: "a value is too large to be written")
    }
    return writer.output
  }
}
