extension Jinja.Interpreter {
  private typealias Value = Jinja.Value

  /// `str.split` and its relatives.
  func split(
    _ name: String, _ text: String, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    switch name {
    case "splitlines":
      let values = try arguments.bind(["keepends"], for: name, self)
      let lines = PythonText.splitLines(text, keepEnds: values[0]?.isTrue ?? false)
      try charge(lines.count)
      return .list(lines.map(Value.string))
    case "partition", "rpartition":
      let values = try arguments.bind(["sep"], required: 1, for: name, self)
      let separator = try separator(values[0] ?? .none, of: name) ?? ""
      return .tuple(partition(text, separator, fromEnd: name == "rpartition").map(Value.string))
    default:
      let values = try arguments.bind(["sep", "maxsplit"], for: name, self)
      guard let limit = (values[1] ?? .int(-1)).integer else {
        throw failure("'maxsplit' of '\(name)' is an integer")
      }
      let maximum = limit < 0 ? Int.max : limit
      var parts: [String]
      if let separator = try separator(values[0] ?? .none, of: name) {
        parts = split(text, at: separator, maximum, fromEnd: name == "rsplit")
      } else {
        parts = splitAtSpace(text, maximum, fromEnd: name == "rsplit")
      }
      try charge(parts.count)
      return .list(parts.map(Value.string))
    }
  }

  private func separator(
    _ value: Jinja.Value, of method: String
  ) throws(ChatTemplateError) -> String? {
    if value.isNone, method.hasSuffix("split") {
      return nil
    }
    guard let text = value.text else {
      throw failure("the separator of '\(method)' is a string, not a \(value.typeName)")
    }
    guard !text.isEmpty else { throw failure("the separator of '\(method)' is empty") }
    return text
  }

  /// The offsets of separators that do not overlap, found from the wanted end.
  private func borders(
    _ bytes: [UInt8], _ separator: [UInt8], _ maximum: Int, fromEnd: Bool
  ) -> [Int] {
    guard fromEnd else {
      return PythonText.occurrences(of: separator, in: bytes, limit: maximum)
    }
    let found = PythonText.occurrences(
      of: separator.reversed(), in: bytes.reversed(), limit: maximum)
    return found.map { bytes.count - $0 - separator.count }.reversed()
  }

  private func split(
    _ text: String, at separator: String, _ maximum: Int, fromEnd: Bool
  ) -> [String] {
    let bytes = Array(text.utf8)
    let separator = Array(separator.utf8)
    var parts: [String] = []
    var start = 0
    for border in borders(bytes, separator, maximum, fromEnd: fromEnd) {
      parts.append(PythonText.string(utf8: bytes[start..<border]))
      start = border + separator.count
    }
    parts.append(PythonText.string(utf8: bytes[start...]))
    return parts
  }

  private func partition(_ text: String, _ separator: String, fromEnd: Bool) -> [String] {
    let parts = split(text, at: separator, 1, fromEnd: fromEnd)
    guard parts.count == 2 else { return fromEnd ? ["", "", text] : [text, "", ""] }
    return [parts[0], separator, parts[1]]
  }

  private func splitAtSpace(_ text: String, _ maximum: Int, fromEnd: Bool) -> [String] {
    var scalars = Array(text.unicodeScalars)
    if fromEnd {
      scalars.reverse()
    }
    var parts: [ArraySlice<Unicode.Scalar>] = []
    var rest = scalars[...].drop(while: PythonText.isSpace)
    while !rest.isEmpty, parts.count < maximum {
      let part = rest.prefix { !PythonText.isSpace($0) }
      parts.append(part)
      rest = rest[part.endIndex...].drop(while: PythonText.isSpace)
    }
    if !rest.isEmpty {
      parts.append(rest)
    }
    if fromEnd {
      return parts.reversed().map { PythonText.string($0.reversed()) }
    }
    return parts.map { PythonText.string($0) }
  }

  // MARK: Putting together

  func join(
    _ items: [Jinja.Value], with separator: String
  ) throws(ChatTemplateError) -> String {
    var size = 0
    var parts: [String] = []
    for item in items {
      guard let text = item.text else {
        throw failure("'join' needs strings, not a \(item.typeName)")
      }
      size += text.utf8.count + separator.utf8.count
      try chargeText(size)
      parts.append(text)
    }
    return parts.joined(separator: separator)
  }

  func replace(
    _ text: String, _ old: String, _ new: String, count: Jinja.Value
  ) throws(ChatTemplateError) -> String {
    guard let limit = count.integer else {
      throw failure("the count of 'replace' is an integer, not a \(count.typeName)")
    }
    let maximum = limit < 0 ? Int.max : limit
    if old.isEmpty {
      return try interleave(text, new, maximum)
    }
    let bytes = Array(text.utf8)
    let old = Array(old.utf8)
    let found = PythonText.occurrences(of: old, in: bytes, limit: maximum)
    guard !found.isEmpty else { return text }
    let (extra, overflow) = found.count.multipliedReportingOverflow(by: new.utf8.count)
    try chargeText(overflow ? .max : bytes.count &+ extra)
    var result: [UInt8] = []
    var start = 0
    for position in found {
      result += bytes[start..<position]
      result += new.utf8
      start = position + old.count
    }
    result += bytes[start...]
    return String(decoding: result, as: UTF8.self)
  }

  /// What replacing the empty text does: the new text goes before every character and to the end.
  private func interleave(
    _ text: String, _ new: String, _ maximum: Int
  ) throws(ChatTemplateError) -> String {
    let scalars = Array(text.unicodeScalars)
    let (extra, overflow) = (scalars.count + 1).multipliedReportingOverflow(by: new.utf8.count)
    try chargeText(overflow ? .max : text.utf8.count &+ extra)
    var result = ""
    for (index, scalar) in scalars.enumerated() {
      if index < maximum {
        result += new
      }
      result.unicodeScalars.append(scalar)
    }
    return scalars.count < maximum ? result + new : result
  }

  /// `str.ljust`, `str.rjust` (text on the right) and `str.center`.
  func pad(
    _ text: String, to width: Jinja.Value, _ side: PythonText.Side, with fill: String
  ) throws(ChatTemplateError) -> String {
    guard let width = width.integer else {
      throw failure("a width is an integer, not a \(width.typeName)")
    }
    guard fill.unicodeScalars.count == 1 else {
      throw failure("the fill of a text is exactly one character")
    }
    let count = text.unicodeScalars.count
    guard width > count else { return text }
    let missing = width - count
    try chargeText(missing.multipliedReportingOverflow(by: 4).overflow ? .max : missing * 4)
    let before =
      switch side {
      case .left: 0
      case .right: missing
      // Python puts the odd blank to the left when the width is odd.
      case .both: missing / 2 + (missing & width & 1)
      }
    return String(repeating: fill, count: before) + text
      + String(repeating: fill, count: missing - before)
  }

  func expandTabs(_ text: String, _ size: Int) throws(ChatTemplateError) -> String {
    var result = ""
    var column = 0
    for scalar in text.unicodeScalars {
      if scalar == "\t" {
        guard size > 0 else { continue }
        let blanks = size - column % size
        try chargeText(result.utf8.count &+ blanks)
        result += String(repeating: " ", count: blanks)
        column += blanks
      } else {
        result.unicodeScalars.append(scalar)
        column = scalar == "\n" || scalar == "\r" ? 0 : column + 1
      }
    }
    return result
  }
}
