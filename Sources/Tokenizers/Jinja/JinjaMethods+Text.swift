extension Jinja.Interpreter {
  private typealias Value = Jinja.Value

  func callTextMethod(
    _ name: String, on text: String, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    try chargeText(text.utf8.count)
    switch name {
    case "split", "rsplit", "splitlines", "partition", "rpartition":
      return try split(name, text, arguments)
    case "format", "format_map":
      return .string(try braceFormat(text, arguments, isMap: name == "format_map"))
    case "encode", "maketrans", "translate":
      throw failure("the string method '\(name)' is not supported in chat templates")
    default:
      break
    }
    guard arguments.keywords.isEmpty || name == "expandtabs" else {
      throw failure("'\(name)' has no named arguments")
    }
    switch name {
    case "strip", "lstrip", "rstrip":
      let values = try arguments.bind(["chars"], for: name, self)
      let side: PythonText.Side = name == "strip" ? .both : name == "lstrip" ? .left : .right
      let characters = try optionalText(values[0], "chars", of: name)
      return .string(PythonText.strip(text, side, characters: characters))
    case "startswith", "endswith", "find", "rfind", "index", "rindex", "count":
      return try find(name, text, arguments)
    case "replace":
      let values = try arguments.bind(["old", "new", "count"], required: 2, for: name, self)
      return .string(
        try replace(
          text, try requiredText(values[0], of: name), try requiredText(values[1], of: name),
          count: values[2] ?? .int(-1)))
    case "removeprefix", "removesuffix":
      let values = try arguments.bind(["affix"], required: 1, for: name, self)
      return .string(removing(name, try requiredText(values[0], of: name), from: text))
    case "join":
      let values = try arguments.bind(["iterable"], required: 1, for: name, self)
      return .string(try join(try elements(of: values[0] ?? .none), with: text))
    case "ljust", "rjust", "center":
      let values = try arguments.bind(["width", "fillchar"], required: 1, for: name, self)
      let side: PythonText.Side = name == "center" ? .both : name == "ljust" ? .left : .right
      return .string(
        try pad(
          text, to: values[0] ?? .none, side,
          with: try optionalText(values[1], "fillchar", of: name) ?? " "))
    case "zfill":
      let values = try arguments.bind(["width"], required: 1, for: name, self)
      let hasSign = text.hasPrefix("-") || text.hasPrefix("+")
      let digits = hasSign ? String(text.unicodeScalars.dropFirst()) : text
      let width = (values[0]?.integer ?? 0) - (hasSign ? 1 : 0)
      return .string(
        (hasSign ? String(text.unicodeScalars.prefix(1)) : "")
          + (try pad(digits, to: .int(width), .right, with: "0")))
    case "expandtabs":
      let values = try arguments.bind(["tabsize"], for: name, self)
      return .string(try expandTabs(text, (values[0] ?? .int(8)).integer ?? 8))
    default:
      _ = try arguments.bind([], for: name, self)
      return try callPlainTextMethod(name, on: text)
    }
  }

  /// Methods without arguments.
  private func callPlainTextMethod(
    _ name: String, on text: String
  ) throws(ChatTemplateError) -> Jinja.Value {
    switch name {
    case "upper": return .string(PythonText.upper(text))
    case "lower": return .string(PythonText.lower(text))
    case "title": return .string(PythonText.title(text))
    case "capitalize": return .string(PythonText.capitalize(text))
    case "swapcase": return .string(PythonText.swapCase(text))
    case "casefold": return .string(PythonText.caseFolded(text))
    case "islower": return .bool(PythonText.hasOnlyCase(upper: false, text))
    case "isupper": return .bool(PythonText.hasOnlyCase(upper: true, text))
    case "istitle": return .bool(PythonText.isTitle(text))
    case "isascii": return .bool(text.utf8.allSatisfy { $0 < 0x80 })
    case "isprintable": return .bool(text.unicodeScalars.allSatisfy(PythonText.isPrintable))
    case "isidentifier":
      let scalars = text.unicodeScalars
      guard let first = scalars.first else { return .bool(false) }
      return .bool(
        (first == "_" || first.properties.isXIDStart)
          && scalars.allSatisfy { $0.properties.isXIDContinue })
    default:
      guard let test = PythonText.characterTests[name] else {
        throw failure("the string method '\(name)' is not supported in chat templates")
      }
      return .bool(!text.isEmpty && text.unicodeScalars.allSatisfy(test))
    }
  }

  // MARK: Arguments

  private func requiredText(
    _ value: Jinja.Value?, of method: String
  ) throws(ChatTemplateError) -> String {
    guard let text = value?.text else {
      throw failure("'\(method)' needs a string, not a \((value ?? .none).typeName)")
    }
    return text
  }

  private func optionalText(
    _ value: Jinja.Value?, _ name: String, of method: String
  ) throws(ChatTemplateError) -> String? {
    guard let value, !value.isNone else { return nil }
    guard let text = value.text else {
      throw failure("'\(name)' of '\(method)' is a string, not a \(value.typeName)")
    }
    return text
  }

  // MARK: Searching

  private func find(
    _ name: String, _ text: String, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    let values = try arguments.bind(["sub", "start", "end"], required: 1, for: name, self)
    let scalars = Array(text.unicodeScalars)
    let count = scalars.count
    let isBeyond = (values[1]?.integer ?? 0) > count
    let range = try bounds(values[1], values[2], count: count)
    let part = scalars[range]
    if name == "startswith" || name == "endswith" {
      var candidates = [values[0] ?? .none]
      if case .tuple(let several) = values[0] {
        candidates = several
      }
      for candidate in candidates {
        let affix = try requiredText(candidate, of: name).unicodeScalars
        guard !isBeyond, affix.count <= part.count else { continue }
        let found = name == "startswith" ? part.prefix(affix.count) : part.suffix(affix.count)
        if found.elementsEqual(affix) {
          return .bool(true)
        }
      }
      return .bool(false)
    }
    let wanted = Array(try requiredText(values[0], of: name).unicodeScalars)
    let isReversed = name == "rfind" || name == "rindex"
    var position: Int?
    var total = 0
    var index = part.startIndex
    while !isBeyond, index + wanted.count <= part.endIndex {
      if part[index..<(index + wanted.count)].elementsEqual(wanted) {
        total += 1
        position = isReversed ? index : position ?? index
        if !isReversed, name != "count" {
          break
        }
        index += isReversed ? 1 : Swift.max(1, wanted.count)
      } else {
        index += 1
      }
    }
    switch name {
    case "count": return .int(total)
    case "index", "rindex":
      guard let position else { throw failure("'\(name)' does not find the text") }
      return .int(position)
    default: return .int(position ?? -1)
    }
  }

  private func removing(_ name: String, _ affix: String, from text: String) -> String {
    let scalars = text.unicodeScalars
    let removed = affix.unicodeScalars
    if name == "removeprefix" {
      return scalars.starts(with: removed) ? String(scalars.dropFirst(removed.count)) : text
    }
    let ends = scalars.suffix(removed.count).elementsEqual(removed)
    return ends ? String(scalars.dropLast(removed.count)) : text
  }
}
