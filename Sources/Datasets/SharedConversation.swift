import JSONValues

/// Who speaks in a conversation of the ShareGPT manner.
private enum Speaker {
  case role(String)
  /// The model, whose words are calls of functions in JSON.
  case caller

  /// The speakers by the names that data sets give them.
  static let names: [(String, Speaker)] = [
    ("system", .role("system")), ("developer", .role("developer")),
    ("human", .role("user")), ("user", .role("user")), ("prompter", .role("user")),
    ("gpt", .role("assistant")), ("assistant", .role("assistant")), ("model", .role("assistant")),
    ("chatgpt", .role("assistant")), ("bot", .role("assistant")), ("bing", .role("assistant")),
    ("bard", .role("assistant")),
    ("tool", .role("tool")), ("observation", .role("tool")), ("tool_response", .role("tool")),
    ("function_response", .role("tool")), ("function_call", .caller), ("tool_call", .caller),
  ]

  static func named(_ name: String) -> Speaker? {
    names.first { $0.0.utf8.elementsEqual(name.utf8) }?.1
  }
}

extension Fields {
  /// A conversation of `{"from", "value"}` as messages with `role` and `content`.
  ///
  /// A text under `system` beside it becomes the first message. The value of a `function_call` is
  /// JSON of one call or of several, `{"name", "arguments"}`, and becomes `tool_calls` of an
  /// assistant's message with an empty content.
  func conversations() throws(DatasetError) -> [JSON] {
    let key = "conversations"
    let value = object[key] ?? .null
    guard let entries = value.arrayValue else {
      throw wrongType(key, "an array of {\"from\", \"value\"}", value)
    }
    guard !entries.isEmpty else { throw .emptyText(at: place, key: key) }
    var messages: [JSON] = []
    for (index, entry) in entries.enumerated() {
      messages.append(try message(entry, named: "\(key)[\(index)]"))
    }
    guard let system = try optionalText("system"), !system.isEmpty else { return messages }
    guard messages.first?["role"]?.stringValue != "system" else {
      throw .wrongType(
        at: place, key: "system", expected: "absent, as the conversation begins with one",
        actual: "another text")
    }
    return [["role": "system", "content": .string(system)]] + messages
  }

  private func message(_ entry: JSON, named name: String) throws(DatasetError) -> JSON {
    guard let fields = entry.objectValue else { throw wrongType(name, "an object", entry) }
    // Some data sets keep the key of the list and write its entries as messages.
    let spellings =
      fields["from"] == nil && fields["role"] != nil
      ? ("role", "content") : ("from", "value")
    let from = try member(spellings.0, of: fields, named: name)
    guard let speaker = Speaker.named(from) else {
      let known = Speaker.names.map(\.0)
      let expected =
        nearestName(to: from, among: known).map { "\"\($0)\"" }
        ?? "one of \(known.joined(separator: ", "))"
      throw .wrongType(
        at: place, key: "\(name).\(spellings.0)", expected: expected, actual: "\"\(from)\"")
    }
    let text = try member(spellings.1, of: fields, named: name)
    var message: JSONObject
    switch speaker {
    case .role(let role):
      try checkTraining(fields, named: name, role: role)
      message = JSONObject([("role", .string(role)), ("content", .string(text))])
    case .caller:
      try checkTraining(fields, named: name, role: "assistant")
      let calls = try calls(in: text, named: "\(name).\(spellings.1)")
      message = JSONObject([
        ("role", "assistant"), ("content", ""), ("tool_calls", .array(calls)),
      ])
    }
    for key in MessageTraining.keys { message[key] = fields[key] }
    return .object(message)
  }

  private func member(
    _ key: String, of fields: JSONObject, named name: String
  ) throws(DatasetError) -> String {
    guard let value = fields[key] else {
      if let slip = fields.keys.first(where: { nearestName(to: $0, among: [key]) != nil }) {
        throw .misspelledKey(at: place, key: "\(name).\(slip)", suggestion: key)
      }
      throw .missingKey(at: place, key: "\(name).\(key)", found: fields.keys)
    }
    guard let text = value.stringValue else {
      throw wrongType("\(name).\(key)", "a string", value)
    }
    return text
  }

  private func calls(in text: String, named name: String) throws(DatasetError) -> [JSON] {
    let wanted = "a call in JSON, {\"name\", \"arguments\"}, or an array of calls"
    guard let parsed = try? JSON.parse(text) else {
      throw .wrongType(at: place, key: name, expected: wanted, actual: "another text")
    }
    let calls = parsed.arrayValue ?? [parsed]
    guard !calls.isEmpty, calls.allSatisfy({ $0["name"]?.stringValue?.isEmpty == false }) else {
      throw .wrongType(at: place, key: name, expected: wanted, actual: "other JSON")
    }
    return calls.map { ["type": "function", "function": $0] }
  }
}
