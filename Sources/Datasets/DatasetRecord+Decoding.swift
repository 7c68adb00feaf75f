import JSONValues

extension DatasetRecord {
  /// Reads a record from the object of a line.
  ///
  /// - Parameters:
  ///   - object: The line.
  ///   - format: Its format, as `RecordFormat.detect` found it.
  ///   - place: Where it stands.
  /// - Throws: `DatasetError` for a value of a wrong type and for a text that says nothing.
  init(
    _ object: JSONObject, as format: RecordFormat, at place: RecordLocation
  ) throws(DatasetError) {
    let fields = Fields(object: object, place: place)
    switch format {
    case .text:
      self = .text(try fields.text("text"))
    case .promptCompletion:
      self = .promptCompletion(
        prompt: try fields.text("prompt"), completion: try fields.text("completion"))
    case .prompt:
      self = .prompt(try fields.text("prompt"))
    case .messages:
      self = .messages(
        try fields.messages(), tools: try fields.tools(), variables: try fields.variables())
    case .conversations:
      self = .messages(try fields.conversations(), tools: try fields.tools())
    case .instruction:
      self = .instruction(
        try fields.text("instruction"), input: try fields.optionalText("input") ?? "",
        output: try fields.text("output"), system: try fields.optionalText("system") ?? "",
        history: try fields.history())
    case .textLabel:
      self = .labeled(
        text: try fields.text("text"), pair: try fields.optionalText("text_pair"),
        label: try fields.label())
    case .source:
      self = .prompt(try fields.text("source"))
    case .tokenLabels:
      let tokens = try fields.words("tokens")
      let labels = try fields.labels()
      guard tokens.count == labels.count else {
        throw .wrongType(
          at: place, key: "labels", expected: "\(tokens.count) labels, one for each token",
          actual: "\(labels.count)")
      }
      self = .labeledTokens(tokens, labels: labels)
    case .questionContext:
      let context = try fields.text("context")
      self = .question(
        try fields.text("question"), context: context, answers: try fields.answers(in: context))
    case .sourceTarget:
      self = .sourceTarget(source: try fields.text("source"), target: try fields.text("target"))
    }
  }
}

/// The values of one object with errors that name the line.
struct Fields {
  var object: JSONObject
  var place: RecordLocation

  func text(_ key: String) throws(DatasetError) -> String {
    guard let value = object[key] else {
      throw .missingKey(at: place, key: key, found: object.keys)
    }
    guard let text = value.stringValue else { throw wrongType(key, "a string", value) }
    guard text.unicodeScalars.contains(where: { !$0.properties.isWhitespace }) else {
      throw .emptyText(at: place, key: key)
    }
    return text
  }

  /// A string that may be absent, null or empty.
  func optionalText(_ key: String) throws(DatasetError) -> String? {
    guard let value = object[key], !value.isNull else { return nil }
    guard let text = value.stringValue else { throw wrongType(key, "a string or null", value) }
    return text
  }

  func label() throws(DatasetError) -> RecordLabel {
    let value = object["label"] ?? .null
    guard let list = value.arrayValue else { return try label(value) }
    return .several(try list.map { (value) throws(DatasetError) in try label(value) })
  }

  func labels() throws(DatasetError) -> [RecordLabel] {
    let value = object["labels"] ?? .null
    guard let list = value.arrayValue else {
      throw wrongType("labels", "an array with a label for each token", value)
    }
    return try list.enumerated().map { (index, value) throws(DatasetError) in
      try label(value, key: "labels[\(index)]")
    }
  }

  private func label(_ value: JSON, key: String = "label") throws(DatasetError) -> RecordLabel {
    switch value {
    case .integer(let index): return .index(index)
    case .bool(let flag): return .index(flag ? 1 : 0)
    case .number(let number) where number.isFinite && key == "label": return .value(number)
    case .string(let name) where !name.isEmpty: return .name(name)
    case .string: throw .emptyText(at: place, key: key)
    case _ where key != "label":
      throw wrongType(key, "a class name or a class number", value)
    default:
      throw wrongType(key, "a class name, a class number, a number or a list of them", value)
    }
  }

  func messages() throws(DatasetError) -> [JSON] {
    let value = object["messages"] ?? .null
    guard let messages = value.arrayValue else {
      throw wrongType("messages", "an array of {\"role\", \"content\"}", value)
    }
    guard !messages.isEmpty else { throw .emptyText(at: place, key: "messages") }
    for (index, message) in messages.enumerated() {
      try check(message, named: "messages[\(index)]")
    }
    return messages
  }

  private func check(_ message: JSON, named name: String) throws(DatasetError) {
    guard let fields = message.objectValue else { throw wrongType(name, "an object", message) }
    guard let role = fields["role"] else {
      if let slip = fields.keys.first(where: { nearestName(to: $0, among: ["role"]) != nil }) {
        throw .misspelledKey(at: place, key: "\(name).\(slip)", suggestion: "role")
      }
      throw .missingKey(at: place, key: "\(name).role", found: fields.keys)
    }
    guard let roleName = role.stringValue else {
      throw wrongType("\(name).role", "a string", role)
    }
    let known = ["system", "user", "assistant", "tool", "developer", "function"]
    if roleName.isEmpty { throw .emptyText(at: place, key: "\(name).role") }
    if !known.contains(roleName), let meant = nearestName(to: roleName, among: known) {
      throw .wrongType(
        at: place, key: "\(name).role", expected: "\"\(meant)\"", actual: "\"\(roleName)\"")
    }
    try checkTraining(fields, named: name, role: roleName)
    switch fields["content"] {
    case .string, .array:
      return
    case nil, .null:
      if fields["tool_calls"]?.arrayValue?.isEmpty == false { return }
      if fields["content"] == nil {
        if let slip = fields.keys.first(where: { nearestName(to: $0, among: ["content"]) != nil }) {
          throw .misspelledKey(at: place, key: "\(name).\(slip)", suggestion: "content")
        }
        throw .missingKey(at: place, key: "\(name).content", found: fields.keys)
      }
      throw .wrongType(
        at: place, key: "\(name).content", expected: "a string, or null beside tool_calls",
        actual: "null")
    case .some(let content):
      throw wrongType("\(name).content", "a string or an array of parts", content)
    }
  }

  /// The tools: an array, or as some data sets have it the JSON text of one.
  func tools() throws(DatasetError) -> [JSON]? {
    guard var value = object["tools"], !value.isNull else { return nil }
    if let text = value.stringValue {
      guard !text.isEmpty else { return nil }
      guard let parsed = try? JSON.parse(text) else {
        throw .wrongType(
          at: place, key: "tools", expected: "an array or its JSON text", actual: "another text")
      }
      value = parsed
    }
    guard let tools = value.arrayValue else {
      throw wrongType("tools", "an array or its JSON text", value)
    }
    return tools.isEmpty ? nil : tools
  }

  /// Variables of the chat template besides those that come from the conversation.
  func variables() throws(DatasetError) -> JSONObject {
    let key = "chat_template_kwargs"
    guard let value = object[key], !value.isNull else { return JSONObject() }
    guard let variables = value.objectValue else { throw wrongType(key, "an object", value) }
    return variables
  }

  /// Earlier turns: pairs of a task and its answer.
  func history() throws(DatasetError) -> [InstructionTurn] {
    guard let value = object["history"], !value.isNull else { return [] }
    guard let pairs = value.arrayValue else {
      throw wrongType("history", "an array of [instruction, output]", value)
    }
    var turns: [InstructionTurn] = []
    for (index, pair) in pairs.enumerated() {
      let texts = pair.arrayValue?.compactMap(\.stringValue) ?? []
      guard texts.count == 2, pair.arrayValue?.count == 2 else {
        throw wrongType("history[\(index)]", "[instruction, output], two strings", pair)
      }
      turns.append(InstructionTurn(instruction: texts[0], output: texts[1]))
    }
    return turns
  }

  func wrongType(_ key: String, _ expected: String, _ value: JSON) -> DatasetError {
    .wrongType(at: place, key: key, expected: expected, actual: typeName(of: value))
  }
}

/// What a JSON value is, in words.
func typeName(of value: JSON) -> String {
  switch value {
  case .null: "null"
  case .bool: "true or false"
  case .integer, .number: "a number"
  case .string: "a string"
  case .array: "an array"
  case .object: "an object"
  }
}
