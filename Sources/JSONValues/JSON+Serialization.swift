extension JSON {
  /// Writes the value as text, byte for byte as Python's `json.dumps` does.
  ///
  /// Numbers are written as Python's `repr` does: the shortest digits that read back as the same
  /// number, with an exponent below 1e-4 and from 1e16 on; `NaN`, `Infinity` and `-Infinity` are
  /// spelled so, although JSON has no such numbers.
  ///
  /// - Parameters:
  ///   - indent: Spaces for each level, or nil for one line.
  ///   - sortedKeys: Whether keys are written in the order of their code points.
  ///   - escapeNonASCII: Whether characters beyond ASCII are written as escapes.
  ///   - separators: What stands between items and after a key. The default is `", "` and `": "`,
  ///     with an indent `","` and `": "`.
  /// - Returns: The text without a newline at its end.
  public func serialized(
    indent: Int? = nil, sortedKeys: Bool = false, escapeNonASCII: Bool = true,
    separators: (item: String, key: String)? = nil
  ) -> String {
    let separators = separators ?? (item: indent == nil ? ", " : ",", key: ": ")
    var writer = Writer(
      indent: indent, sortedKeys: sortedKeys, escapeNonASCII: escapeNonASCII,
      itemSeparator: Array(separators.item.utf8), keySeparator: Array(separators.key.utf8))
    writer.write(self, level: 0)
    return String(decoding: writer.output, as: UTF8.self)
  }
}

private struct Writer {
  let indent: Int?
  let sortedKeys: Bool
  let escapeNonASCII: Bool
  let itemSeparator: [UInt8]
  let keySeparator: [UInt8]
  var output: [UInt8] = []

  init(
    indent: Int?, sortedKeys: Bool, escapeNonASCII: Bool, itemSeparator: [UInt8],
    keySeparator: [UInt8]
  ) {
    self.indent = indent
    self.sortedKeys = sortedKeys
    self.escapeNonASCII = escapeNonASCII
    self.itemSeparator = itemSeparator
    self.keySeparator = keySeparator
  }

  mutating func write(_ value: JSON, level: Int) {
    switch value {
    case .null: output += "null".utf8
    case .bool(let flag): output += (flag ? "true" : "false").utf8
    case .integer(let integer): output += integer.description.utf8
    case .number(let number): output += pythonSpelling(of: number).utf8
    case .string(let text): write(string: text)
    case .array(let items):
      output.append(UInt8(ascii: "["))
      for (index, item) in items.enumerated() {
        separate(index, level: level + 1)
        write(item, level: level + 1)
      }
      close("]", isEmpty: items.isEmpty, level: level)
    case .object(let object):
      output.append(UInt8(ascii: "{"))
      let pairs = sortedKeys ? sorted(object) : Array(object)
      for (index, pair) in pairs.enumerated() {
        separate(index, level: level + 1)
        write(string: pair.key)
        output += keySeparator
        write(pair.value, level: level + 1)
      }
      close("}", isEmpty: pairs.isEmpty, level: level)
    }
  }

  private func sorted(_ object: JSONObject) -> [(key: String, value: JSON)] {
    object.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
  }

  private mutating func separate(_ index: Int, level: Int) {
    if index > 0 { output += itemSeparator }
    breakLine(level: level)
  }

  private mutating func close(_ bracket: Unicode.Scalar, isEmpty: Bool, level: Int) {
    if !isEmpty { breakLine(level: level) }
    output.append(UInt8(ascii: bracket))
  }

  private mutating func breakLine(level: Int) {
    guard let indent else { return }
    output.append(UInt8(ascii: "\n"))
    output.append(contentsOf: repeatElement(UInt8(ascii: " "), count: max(0, indent) * level))
  }

  private mutating func write(string text: String) {
    output.append(UInt8(ascii: "\""))
    for scalar in text.unicodeScalars {
      switch scalar.value {
      case 0x22: output += "\\\"".utf8
      case 0x5C: output += "\\\\".utf8
      case 0x08: output += "\\b".utf8
      case 0x09: output += "\\t".utf8
      case 0x0A: output += "\\n".utf8
      case 0x0C: output += "\\f".utf8
      case 0x0D: output += "\\r".utf8
      case 0x20..<0x7F: output.append(UInt8(scalar.value))
      case 0..<0x20: escape(UInt16(scalar.value))
      default:
        if escapeNonASCII {
          for unit in scalar.utf16 { escape(unit) }
        } else {
          output += scalar.utf8
        }
      }
    }
    output.append(UInt8(ascii: "\""))
  }

  private mutating func escape(_ unit: UInt16) {
    let digits = Array("0123456789abcdef".utf8)
    output += "\\u".utf8
    for shift in [12, 8, 4, 0] { output.append(digits[Int(unit >> shift) & 15]) }
  }
}

/// The spelling of Python's `repr(float)`, and of `json.dumps` for what is no finite number.
private func pythonSpelling(of number: Double) -> String {
  if number.isNaN { return "NaN" }
  if number.isInfinite { return number < 0 ? "-Infinity" : "Infinity" }
  if number == 0 { return number.sign == .minus ? "-0.0" : "0.0" }
  // Swift writes the same shortest digits; only the place of the exponent differs.
  var digits: [UInt8] = []
  var point: Int?
  var exponent = 0
  let spelling = Array(number.magnitude.description.utf8)
  var at = 0
  while at < spelling.count {
    switch spelling[at] {
    case UInt8(ascii: "."): point = digits.count
    case UInt8(ascii: "e"):
      exponent = Int(String(decoding: spelling[(at + 1)...], as: UTF8.self)) ?? 0
      at = spelling.count
    default: digits.append(spelling[at])
    }
    at += 1
  }
  var places = (point ?? digits.count) + exponent  // value = 0.digits x 10^places
  while digits.first == UInt8(ascii: "0") {
    digits.removeFirst()
    places -= 1
  }
  while digits.last == UInt8(ascii: "0") { digits.removeLast() }

  var result = number < 0 ? "-" : ""
  let text = { (range: Range<Int>) in String(decoding: digits[range], as: UTF8.self) }
  if places > -4 && places <= 16 {
    if places <= 0 {
      result += "0." + String(repeating: "0", count: -places) + text(0..<digits.count)
    } else if places >= digits.count {
      result += text(0..<digits.count)
      result += String(repeating: "0", count: places - digits.count) + ".0"
    } else {
      result += text(0..<places) + "." + text(places..<digits.count)
    }
    return result
  }
  result += text(0..<1)
  if digits.count > 1 { result += "." + text(1..<digits.count) }
  let power = places - 1
  let magnitude = String(power.magnitude)
  result += (power < 0 ? "e-" : "e+") + (magnitude.count < 2 ? "0" + magnitude : magnitude)
  return result
}
