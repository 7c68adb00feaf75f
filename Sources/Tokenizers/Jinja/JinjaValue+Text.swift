import JSONValues

extension Jinja {
  /// Writes values as Python's `str` and `repr` do, up to a size and a depth.
  struct TextWriter {
    private(set) var output = ""
    let limit: Int

    private static let maximumDepth = 200

    init(limit: Int) {
      self.limit = limit
    }

    /// Appends `str(value)`; false when the text would be too large.
    mutating func writeString(_ value: Value) -> Bool {
      if let text = value.text {
        output += text
        return output.utf8.count <= limit
      }
      if value.isUndefined {
        return true
      }
      return writeRepresentation(value, depth: 0)
    }

    /// Appends `repr(value)`; false when the text would be too large or too deep.
    mutating func writeRepresentation(_ value: Value, depth: Int) -> Bool {
      guard depth < Self.maximumDepth, output.utf8.count <= limit else { return false }
      switch value {
      case .undefined: output += "Undefined"
      case .none: output += "None"
      case .bool(let flag): output += flag ? "True" : "False"
      case .int(let number): output += String(number)
      case .float(let number): output += PythonText.representation(of: number)
      case .string(let text): PythonText.quote(text, into: &output)
      case .markup(let text):
        output += "Markup("
        PythonText.quote(text, into: &output)
        output += ")"
      case .list(let items):
        return writeSequence(items, "[", "]", depth: depth)
      case .tuple(let items):
        return writeSequence(items, "(", items.count == 1 ? ",)" : ")", depth: depth)
      case .range(let range):
        output += "range(\(range.start), \(range.stop)"
        output += range.step == 1 ? ")" : ", \(range.step))"
      case .view(let view):
        output += view.kind.rawValue
        return writeSequence(view.elements, "([", "])", depth: depth)
      case .dictionary(let mapping):
        return writePairs(mapping.pairs, depth: depth)
      case .namespace(let namespace):
        output += "<Namespace "
        let pairs = namespace.attributes.map { (key: Value.string($0.name), value: $0.value) }
        guard writePairs(pairs, depth: depth) else { return false }
        output += ">"
      case .macro(let macro):
        output += "<Macro \(macro.definition.name.map { "'\($0)'" } ?? "anonymous")>"
      case .loop: output += "<LoopContext>"
      case .iterator: output += "<generator object>"
      case .function(let function): output += "<function \(function.rawValue)>"
      case .method(let method): output += "<built-in method \(method.name)>"
      }
      return true
    }

    private mutating func writeSequence(
      _ items: [Value], _ opening: String, _ closing: String, depth: Int
    ) -> Bool {
      output += opening
      for (index, item) in items.enumerated() {
        if index > 0 {
          output += ", "
        }
        guard writeRepresentation(item, depth: depth + 1) else { return false }
      }
      output += closing
      return true
    }

    private mutating func writePairs(_ pairs: [(key: Value, value: Value)], depth: Int) -> Bool {
      output += "{"
      for (index, pair) in pairs.enumerated() {
        if index > 0 {
          output += ", "
        }
        guard writeRepresentation(pair.key, depth: depth + 1) else { return false }
        output += ": "
        guard writeRepresentation(pair.value, depth: depth + 1) else { return false }
      }
      output += "}"
      return true
    }
  }
}

extension PythonText {
  /// `repr` of a floating-point number.
  static func representation(of number: Double) -> String {
    if number.isNaN {
      return "nan"
    }
    if number.isInfinite {
      return number < 0 ? "-inf" : "inf"
    }
    return JSON.number(number).serialized()
  }

  /// Appends `repr` of a string.
  static func quote(_ text: String, into output: inout String) {
    let scalars = text.unicodeScalars
    let usesDouble = scalars.contains("'") && !scalars.contains("\"")
    let quote: Unicode.Scalar = usesDouble ? "\"" : "'"
    output.unicodeScalars.append(quote)
    for scalar in scalars {
      switch scalar {
      case "\n": output += "\\n"
      case "\r": output += "\\r"
      case "\t": output += "\\t"
      case "\\": output += "\\\\"
      case quote:
        output += "\\"
        output.unicodeScalars.append(scalar)
      default:
        if isPrintable(scalar) {
          output.unicodeScalars.append(scalar)
        } else if scalar.value < 0x100 {
          output += "\\x" + hexadecimal(scalar.value, width: 2)
        } else if scalar.value < 0x10000 {
          output += "\\u" + hexadecimal(scalar.value, width: 4)
        } else {
          output += "\\U" + hexadecimal(scalar.value, width: 8)
        }
      }
    }
    output.unicodeScalars.append(quote)
  }

  private static func hexadecimal(_ value: UInt32, width: Int) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
  }
}
