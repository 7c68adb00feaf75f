extension Jinja.Interpreter {
  private typealias Value = Jinja.Value

  /// `text.format(...)` with fields such as `{}`, `{0}`, `{name.part[0]!r:>8}`.
  func braceFormat(
    _ text: String, _ arguments: Jinja.Arguments, isMap: Bool
  ) throws(ChatTemplateError) -> String {
    var arguments = arguments
    if isMap {
      guard arguments.positional.count == 1, arguments.keywords.isEmpty,
        case .dictionary(let mapping) = arguments.positional[0]
      else { throw failure("'format_map' needs one dictionary") }
      arguments = Jinja.Arguments()
      for pair in mapping.pairs {
        if let name = pair.key.text {
          arguments.keywords.append((name, pair.value))
        }
      }
    }
    var automatic = 0
    return try braceFormat(Array(text.unicodeScalars)[...], arguments, &automatic, nesting: 2)
  }

  private func braceFormat(
    _ scalars: ArraySlice<Unicode.Scalar>, _ arguments: Jinja.Arguments, _ automatic: inout Int,
    nesting: Int
  ) throws(ChatTemplateError) -> String {
    guard nesting >= 0 else { throw failure("a format is nested too deeply") }
    var result = ""
    var index = scalars.startIndex
    while index < scalars.endIndex {
      let scalar = scalars[index]
      index += 1
      guard scalar == "{" || scalar == "}" else {
        result.unicodeScalars.append(scalar)
        continue
      }
      if index < scalars.endIndex, scalars[index] == scalar {
        result.unicodeScalars.append(scalar)
        index += 1
        continue
      }
      guard scalar == "{" else { throw failure("a format has a single '}'") }
      var depth = 1
      var end = index
      while end < scalars.endIndex {
        depth += scalars[end] == "{" ? 1 : scalars[end] == "}" ? -1 : 0
        if depth == 0 {
          break
        }
        end += 1
      }
      guard end < scalars.endIndex else { throw failure("a format has a '{' without '}'") }
      result += try field(scalars[index..<end], arguments, &automatic, nesting: nesting)
      try chargeText(result.utf8.count)
      index = end + 1
    }
    return result
  }

  private func field(
    _ field: ArraySlice<Unicode.Scalar>, _ arguments: Jinja.Arguments, _ automatic: inout Int,
    nesting: Int
  ) throws(ChatTemplateError) -> String {
    let nameEnd = field.firstIndex { $0 == "!" || $0 == ":" } ?? field.endIndex
    var value = try fieldValue(field[..<nameEnd], arguments, &automatic)
    var rest = field[nameEnd...]
    if rest.first == "!" {
      let kind = rest.dropFirst().first
      guard kind == "r" || kind == "s" || kind == "a" else {
        throw failure("a format has a conversion other than '!r' and '!s'")
      }
      value = .string(kind == "s" ? try string(value) : try representation(value))
      rest = rest.dropFirst(2)
      guard rest.isEmpty || rest.first == ":" else {
        throw failure("a format has something other than ':' after a conversion")
      }
    }
    let specification = try braceFormat(
      rest.dropFirst(), arguments, &automatic, nesting: nesting - 1)
    return try formatted(value, specification)
  }

  private func fieldValue(
    _ path: ArraySlice<Unicode.Scalar>, _ arguments: Jinja.Arguments, _ automatic: inout Int
  ) throws(ChatTemplateError) -> Jinja.Value {
    let firstEnd = path.firstIndex { $0 == "." || $0 == "[" } ?? path.endIndex
    var name = PythonText.string(path[..<firstEnd])
    if name.isEmpty {
      guard automatic >= 0 else { throw failure("a format mixes '{}' with '{0}'") }
      name = String(automatic)
      automatic += 1
    } else if Int(name) != nil {
      guard automatic <= 0 else { throw failure("a format mixes '{}' with '{0}'") }
      automatic = -1
    }
    var value: Value
    if let position = Int(name) {
      guard arguments.positional.indices.contains(position) else {
        throw failure("a format has no argument \(position)")
      }
      value = arguments.positional[position]
    } else {
      guard let found = arguments.keywords.first(where: { PythonText.equal($0.name, name) }) else {
        throw failure("a format has no argument '\(name)'")
      }
      value = found.value
    }
    var rest = path[firstEnd...]
    while let opening = rest.popFirst() {
      if opening == "[" {
        guard let close = rest.firstIndex(of: "]") else {
          throw failure("a format has a '[' without ']'")
        }
        let key = PythonText.string(rest[..<close])
        value = try item(Int(key).map(Value.int) ?? .string(key), of: value)
        rest = rest[(close + 1)...]
      } else {
        let end = rest.firstIndex { $0 == "." || $0 == "[" } ?? rest.endIndex
        value = try attribute(PythonText.string(rest[..<end]), of: value)
        rest = rest[end...]
      }
    }
    return value
  }

  /// `format(value, specification)`.
  private func formatted(
    _ value: Jinja.Value, _ specification: String
  ) throws(ChatTemplateError) -> String {
    guard !specification.isEmpty else { return try string(value) }
    let format = try parseSpecification(specification)
    let result: String?
    switch value {
    case .string(let text), .markup(let text):
      result = format.type == nil || format.type == "s" ? format.text(of: text) : nil
    case .bool(let flag) where format.type == nil:
      result = format.text(of: flag ? "True" : "False")
    case .int, .bool: result = value.integer.flatMap { format.text(of: $0) }
    case .float(let number): result = format.text(of: number)
    default: result = nil
    }
    guard let result else {
      throw failure("the format '\(specification)' does not work on a \(value.typeName)")
    }
    return result
  }

  private func parseSpecification(
    _ specification: String
  ) throws(ChatTemplateError) -> PythonFormat {
    var scalars = Array(specification.unicodeScalars)[...]
    let alignments: [Unicode.Scalar: PythonFormat.Alignment] = [
      "<": .left, ">": .right, "^": .center, "=": .afterSign,
    ]
    var format = PythonFormat()
    if scalars.count > 1, let alignment = alignments[scalars[scalars.startIndex + 1]] {
      format.fill = scalars[scalars.startIndex]
      format.alignment = alignment
      scalars = scalars.dropFirst(2)
    } else if let first = scalars.first, let alignment = alignments[first] {
      format.alignment = alignment
      scalars = scalars.dropFirst()
    }
    if let sign = scalars.first, sign == "+" || sign == "-" || sign == " " {
      format.positiveSign = sign == "-" ? "" : String(sign)
      scalars = scalars.dropFirst()
    }
    if scalars.first == "#" {
      format.isAlternate = true
      scalars = scalars.dropFirst()
    }
    if scalars.first == "0" {
      scalars = scalars.dropFirst()
      if format.alignment == nil {
        format.fill = "0"
        format.alignment = .afterSign
      }
    }
    func number() throws(ChatTemplateError) -> Int? {
      let digits = scalars.prefix { ("0"..."9").contains($0) }
      scalars = scalars.dropFirst(digits.count)
      guard !digits.isEmpty else { return nil }
      guard let number = Int(PythonText.string(digits)), number <= 1_000_000 else {
        throw .limitExceeded(line: line, limit: "a format asks for more than a million characters")
      }
      return number
    }
    format.width = try number() ?? 0
    if let grouping = scalars.first, grouping == "," || grouping == "_" {
      format.grouping = String(grouping)
      scalars = scalars.dropFirst()
    }
    if scalars.first == "." {
      scalars = scalars.dropFirst()
      guard let precision = try number() else { throw failure("a format has no precision") }
      format.precision = precision
    }
    format.type = scalars.popFirst()
    guard scalars.isEmpty else { throw failure("'\(specification)' is no format") }
    return format
  }
}
