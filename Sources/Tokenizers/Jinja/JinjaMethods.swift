extension Jinja {
  /// The methods of Python's types.
  enum Method {
    case callable
    /// Changes its receiver, which a chat template must not do.
    case mutating

    private static let text: Set<String> = [
      "capitalize", "casefold", "center", "count", "encode", "endswith", "expandtabs", "find",
      "format", "format_map", "index", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit",
      "isidentifier", "islower", "isnumeric", "isprintable", "isspace", "istitle", "isupper",
      "join", "ljust", "lower", "lstrip", "maketrans", "partition", "removeprefix",
      "removesuffix", "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip",
      "split", "splitlines", "startswith", "strip", "swapcase", "title", "translate", "upper",
      "zfill",
    ]

    /// What the method of this name on a value is, or nil when the type has none.
    static func kind(of name: String, on value: Value) -> Method? {
      switch value {
      case .string, .markup:
        return text.contains(name) ? .callable : nil
      case .dictionary:
        switch name {
        case "get", "items", "keys", "values", "copy", "fromkeys": return .callable
        case "clear", "pop", "popitem", "setdefault", "update": return .mutating
        default: return nil
        }
      case .list:
        switch name {
        case "count", "index", "copy": return .callable
        case "append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove":
          return .mutating
        default: return nil
        }
      case .tuple, .range:
        return name == "count" || name == "index" ? .callable : nil
      case .float:
        return name == "is_integer" || name == "conjugate" ? .callable : nil
      case .int, .bool:
        return name == "bit_length" || name == "conjugate" ? .callable : nil
      default:
        return nil
      }
    }
  }
}

extension Jinja.Interpreter {
  private typealias Value = Jinja.Value

  /// Calls a method.
  func call(
    _ method: Jinja.BoundMethod, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    let name = method.name
    switch method.receiver {
    case .string(let text):
      return try callTextMethod(name, on: text, arguments)
    case .markup(let text):
      let result = try callTextMethod(name, on: text, arguments)
      if case .string(let text) = result {
        return .markup(text)
      }
      return result
    case .dictionary(let mapping):
      return try callDictionaryMethod(name, on: mapping, arguments)
    case .list(let items) where name == "copy":
      _ = try arguments.bind([], for: name, self)
      return .list(items)
    case .list(let items), .tuple(let items):
      return try search(name, in: items, arguments)
    case .range(let range):
      return try search(name, in: range.values, arguments)
    case .loop(let loop):
      guard arguments.keywords.isEmpty else { throw failure("'\(name)' has no named arguments") }
      if name == "changed" {
        return .bool(loop.changed(arguments.positional))
      }
      guard !arguments.positional.isEmpty else { throw failure("'cycle' needs values") }
      return arguments.positional[loop.index0 % arguments.positional.count]
    default:
      _ = try arguments.bind([], for: name, self)
      switch (method.receiver, name) {
      case (.float(let number), "is_integer"):
        return .bool(number.isFinite && number == number.rounded())
      case (.float, "conjugate"):
        return method.receiver
      default:
        let number = method.receiver.integer ?? 0
        return .int(
          name == "conjugate" ? number : Int.bitWidth - number.magnitude.leadingZeroBitCount)
      }
    }
  }

  private func search(
    _ name: String, in items: [Jinja.Value], _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    guard arguments.keywords.isEmpty, let wanted = arguments.positional.first else {
      throw failure("'\(name)' needs a value to search")
    }
    try charge(items.count)
    if name == "count" {
      _ = try arguments.bind(["value"], for: name, self)
      return .int(items.filter { Value.equal($0, wanted) }.count)
    }
    let values = try arguments.bind(["value", "start", "stop"], for: name, self)
    let range = try bounds(values[1], values[2], count: items.count)
    guard let index = items[range].firstIndex(where: { Value.equal($0, wanted) }) else {
      throw failure("'index' does not find the value")
    }
    return .int(index)
  }

  /// The part of a sequence that optional `start` and `stop` arguments name.
  func bounds(
    _ start: Jinja.Value?, _ stop: Jinja.Value?, count: Int
  ) throws(ChatTemplateError) -> Range<Int> {
    func bound(_ value: Jinja.Value?, or fallback: Int) throws(ChatTemplateError) -> Int {
      guard let value, !value.isNone else { return fallback }
      guard let number = value.integer else {
        throw failure("a position is an integer, not a \(value.typeName)")
      }
      return Swift.min(Swift.max(number < 0 ? number &+ count : number, 0), count)
    }
    let first = try bound(start, or: 0)
    return first..<Swift.max(first, try bound(stop, or: count))
  }

  private func callDictionaryMethod(
    _ name: String, on mapping: Jinja.Mapping, _ arguments: Jinja.Arguments
  ) throws(ChatTemplateError) -> Jinja.Value {
    switch name {
    case "get":
      guard arguments.keywords.isEmpty else { throw failure("'get' has no named arguments") }
      let values = try arguments.bind(["key", "default"], required: 1, for: name, self)
      guard let key = values[0].flatMap(Jinja.Key.init) else {
        throw failure("'get' needs a key, not a \((values[0] ?? .none).typeName)")
      }
      return mapping.value(of: key) ?? values[1] ?? .none
    case "fromkeys":
      let values = try arguments.bind(["iterable", "value"], required: 1, for: name, self)
      var result = Jinja.Mapping()
      for key in try elements(of: values[0] ?? .none) {
        try set(key, values[1] ?? .none, in: &result)
      }
      return .dictionary(result)
    default:
      _ = try arguments.bind([], for: name, self)
      switch name {
      case "items": return .view(Jinja.DictionaryView(kind: .items, mapping: mapping))
      case "keys": return .view(Jinja.DictionaryView(kind: .keys, mapping: mapping))
      case "values": return .view(Jinja.DictionaryView(kind: .values, mapping: mapping))
      default: return .dictionary(mapping)
      }
    }
  }
}
