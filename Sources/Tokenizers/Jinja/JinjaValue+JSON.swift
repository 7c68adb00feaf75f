import JSONValues

extension Jinja.Value {
  /// A template's value for a JSON value.
  init(_ json: JSON) {
    switch json {
    case .null: self = .none
    case .bool(let flag): self = .bool(flag)
    case .integer(let number): self = .int(number)
    case .number(let number): self = .float(number)
    case .string(let text): self = .string(text)
    case .array(let items): self = .list(items.map(Jinja.Value.init))
    case .object(let object): self = .dictionary(Jinja.Mapping(object))
    }
  }
}

extension Jinja.Mapping {
  /// A template's dictionary for a JSON object.
  init(_ object: JSONObject) {
    self.init()
    for (key, value) in object {
      set(.string(key), to: Jinja.Value(value))
    }
  }
}

extension Jinja {
  /// Writes values as Python's `json.dumps` does.
  struct JSONWriter {
    var indent: String?
    var itemSeparator: String
    var keySeparator: String
    var sortsKeys: Bool
    var escapesNonASCII: Bool
    private(set) var output = ""

    private static let maximumDepth = 200

    init(
      indent: String?, separators: (item: String, key: String)?, sortsKeys: Bool,
      escapesNonASCII: Bool
    ) {
      self.indent = indent
      itemSeparator = separators?.item ?? (indent == nil ? ", " : ",")
      keySeparator = separators?.key ?? ": "
      self.sortsKeys = sortsKeys
      self.escapesNonASCII = escapesNonASCII
    }

    mutating func write(
      _ value: Value, depth: Int = 0, _ interpreter: Interpreter
    ) throws(ChatTemplateError) {
      guard depth < Self.maximumDepth else {
        throw .limitExceeded(line: interpreter.line, limit: "a value is nested too deeply")
      }
      try interpreter.charge(1)
      switch value {
      case .none: output += "null"
      case .bool(let flag): output += flag ? "true" : "false"
      case .int(let number): output += String(number)
      case .float(let number): output += JSON.number(number).serialized()
      case .string(let text), .markup(let text):
        output += JSON.string(text).serialized(escapeNonASCII: escapesNonASCII)
      case .list(let items), .tuple(let items):
        try writeList(items, depth: depth, interpreter)
      case .dictionary(let mapping):
        try writeObject(mapping, depth: depth, interpreter)
      default:
        throw interpreter.failure("a \(value.typeName) cannot be written as JSON")
      }
    }

    private mutating func writeList(
      _ items: [Value], depth: Int, _ interpreter: Interpreter
    ) throws(ChatTemplateError) {
      output += "["
      for (index, item) in items.enumerated() {
        separate(index, depth: depth)
        try write(item, depth: depth + 1, interpreter)
      }
      if !items.isEmpty {
        breakLine(depth)
      }
      output += "]"
    }

    private mutating func writeObject(
      _ mapping: Mapping, depth: Int, _ interpreter: Interpreter
    ) throws(ChatTemplateError) {
      var pairs = mapping.pairs
      if sortsKeys {
        pairs = try interpreter.sorted(pairs) { $0.key }
      }
      output += "{"
      for (index, pair) in pairs.enumerated() {
        separate(index, depth: depth)
        let key: String
        switch pair.key {
        case .string(let text), .markup(let text): key = text
        case .none: key = "null"
        case .bool(let flag): key = flag ? "true" : "false"
        case .int(let number): key = String(number)
        case .float(let number): key = JSON.number(number).serialized()
        default:
          throw interpreter.failure("a \(pair.key.typeName) cannot be a key in JSON")
        }
        output += JSON.string(key).serialized(escapeNonASCII: escapesNonASCII)
        output += keySeparator
        try write(pair.value, depth: depth + 1, interpreter)
      }
      if !pairs.isEmpty {
        breakLine(depth)
      }
      output += "}"
    }

    private mutating func separate(_ index: Int, depth: Int) {
      if index > 0 {
        output += itemSeparator
      }
      breakLine(depth + 1)
    }

    private mutating func breakLine(_ depth: Int) {
      guard let indent else { return }
      output += "\n" + String(repeating: indent, count: depth)
    }
  }
}
