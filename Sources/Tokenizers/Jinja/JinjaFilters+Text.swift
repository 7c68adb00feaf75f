extension Jinja.Interpreter {
  private typealias Value = Jinja.Value

  func applyTextFilter(
    _ filter: Jinja.Filter, to value: Jinja.Value, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    let name = filter.rawValue
    switch filter {
    case .upper, .lower, .title, .capitalize:
      _ = try arguments.bind([], for: name, self)
      let text = try string(value)
      try chargeText(3 * text.utf8.count)
      switch filter {
      case .upper: return keepSafe(value, PythonText.upper(text))
      case .lower: return keepSafe(value, PythonText.lower(text))
      case .capitalize: return keepSafe(value, PythonText.capitalize(text))
      default: return .string(PythonText.titleWords(text))
      }
    case .trim:
      let values = try arguments.bind(["chars"], for: name, self)
      let text = try string(value)
      guard let characters = values[0], !characters.isNone else {
        return keepSafe(value, PythonText.strip(text))
      }
      guard let characters = characters.text else {
        throw failure("'chars' of 'trim' is a string, not a \(characters.typeName)")
      }
      return keepSafe(value, PythonText.strip(text, characters: characters))
    case .string:
      _ = try arguments.bind([], for: name, self)
      return keepSafe(value, try string(value))
    case .safe:
      _ = try arguments.bind([], for: name, self)
      return .markup(try string(value))
    case .e, .escape, .forceescape:
      _ = try arguments.bind([], for: name, self)
      if case .markup = value, filter != .forceescape {
        return value
      }
      let text = try string(value)
      try chargeText(5 * text.utf8.count)
      return .markup(Self.escaped(text))
    case .replace:
      let values = try arguments.bind(["old", "new", "count"], required: 2, for: name, self)
      return .string(
        try replace(
          try string(value), try string(values[0] ?? .none), try string(values[1] ?? .none),
          count: values[2].flatMap { $0.isNone ? nil : $0 } ?? .int(-1)))
    case .center:
      let values = try arguments.bind(["width"], for: name, self)
      return .string(try pad(try string(value), to: values[0] ?? .int(80), .both, with: " "))
    case .format:
      guard arguments.positional.isEmpty || arguments.keywords.isEmpty else {
        throw failure("'format' takes positional or named arguments, not both")
      }
      var values = Value.tuple(arguments.positional)
      if !arguments.keywords.isEmpty {
        values = .dictionary(
          arguments.keywords.reduce(into: Jinja.Mapping()) {
            $0.set(.string($1.name), to: $1.value)
          })
      }
      return .string(try percentFormat(try string(value), values))
    default:
      return try applyLayoutFilter(filter, to: value, arguments)
    }
  }

  private func applyLayoutFilter(
    _ filter: Jinja.Filter, to value: Jinja.Value, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    switch filter {
    case .indent:
      return .string(try indented(value, arguments))
    case .truncate:
      return try truncated(value, arguments)
    case .urlencode:
      _ = try arguments.bind([], for: filter.rawValue, self)
      return .string(try urlEncoded(value))
    default:
      _ = try arguments.bind([], for: filter.rawValue, self)
      var words = 0
      var isInside = false
      for scalar in try string(value).unicodeScalars {
        let properties = scalar.properties
        let isWord = scalar == "_" || properties.isAlphabetic || properties.numericType != nil
        words += isWord && !isInside ? 1 : 0
        isInside = isWord
      }
      return .int(words)
    }
  }

  /// Marks a text as safe when the value it comes from is.
  private func keepSafe(_ value: Jinja.Value, _ text: String) -> Jinja.Value {
    if case .markup = value {
      return .markup(text)
    }
    return .string(text)
  }

  private func indented(
    _ value: Jinja.Value, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> String {
    let values = try arguments.bind(["width", "first", "blank"], for: "indent", self)
    guard let text = value.text else { throw typeError("+", value) }
    let indentation: String
    if let given = values[0]?.text {
      indentation = given
    } else {
      guard let width = (values[0] ?? .int(4)).integer else {
        throw failure("'width' of 'indent' is a number or a string")
      }
      try chargeText(max(0, width))
      indentation = String(repeating: " ", count: max(0, width))
    }
    let blank = values[2]?.isTrue ?? false
    let lines = PythonText.splitLines(text + "\n")
    let (extra, overflow) = lines.count.multipliedReportingOverflow(by: indentation.utf8.count)
    try chargeText(overflow ? .max : extra + text.utf8.count)
    var result = values[1]?.isTrue ?? false ? indentation : ""
    for (index, line) in lines.enumerated() {
      if index > 0 {
        result += "\n"
        result += blank || !line.isEmpty ? indentation : ""
      }
      result += line
    }
    return result
  }

  private func truncated(
    _ value: Jinja.Value, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    let values = try arguments.bind(
      ["length", "killwords", "end", "leeway"], for: "truncate", self)
    let end = try string(values[2] ?? .string("..."))
    guard let length = (values[0] ?? .int(255)).integer,
      let leeway = (values[3] ?? .int(5)).integer, leeway >= 0,
      length >= end.unicodeScalars.count
    else {
      throw failure("'truncate' needs a length of at least that of its end, and no negative leeway")
    }
    guard try self.length(of: value) - leeway > length else { return value }
    guard let text = value.text else { throw failure("'truncate' needs a string") }
    var head = Array(text.unicodeScalars)[..<(length - end.unicodeScalars.count)]
    if !(values[1]?.isTrue ?? false), let space = head.lastIndex(of: " ") {
      head = head[..<space]
    }
    return .string(PythonText.string(head) + end)
  }

  private func urlEncoded(_ value: Jinja.Value) throws(ChatTemplateError) -> String {
    let pairs: [Value]
    switch value {
    case .dictionary(let mapping): pairs = mapping.pairs.map { .tuple([$0.key, $0.value]) }
    case .list, .tuple, .iterator, .view, .range, .undefined: pairs = try elements(of: value)
    default: return Self.quoted(try string(value), forQuery: false)
    }
    var parts: [String] = []
    for pair in pairs {
      let both = try elements(of: pair)
      guard both.count == 2 else { throw failure("'urlencode' needs pairs") }
      parts.append(
        Self.quoted(try string(both[0]), forQuery: true) + "="
          + Self.quoted(try string(both[1]), forQuery: true))
    }
    return parts.joined(separator: "&")
  }

  private static func quoted(_ text: String, forQuery: Bool) -> String {
    var result = ""
    for byte in text.utf8 {
      let scalar = Unicode.Scalar(byte)
      switch scalar {
      case "a"..."z", "A"..."Z", "0"..."9", "_", ".", "-", "~":
        result.unicodeScalars.append(scalar)
      case "/" where !forQuery: result += "/"
      case " " where forQuery: result += "+"
      default:
        let digits = String(byte, radix: 16, uppercase: true)
        result += byte < 16 ? "%0" + digits : "%" + digits
      }
    }
    return result
  }
}
