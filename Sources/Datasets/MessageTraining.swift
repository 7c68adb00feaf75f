import JSONValues
import Tokenizers

/// Which messages of a conversation the loss counts.
///
/// `"train": true` or `false` on a message, as axolotl writes it, or `"weight": 1` or `0`, as OpenAI does,
/// says so. An assistant's message without either counts.
enum MessageTraining {
  static let keys = ["train", "weight"]

  /// What a message says; nil when it says nothing.
  static func flag(of message: JSON) -> Bool? {
    message["train"]?.boolValue ?? message["weight"]?.doubleValue.map { $0 != 0 }
  }

  /// The messages without these keys, which templates must not see, and the places of those that the
  /// loss leaves out.
  static func split(_ messages: [JSON]) -> (messages: [JSON], untrained: Set<Int>) {
    var untrained: Set<Int> = []
    let plain = messages.enumerated().map { index, message -> JSON in
      guard var fields = message.objectValue, keys.contains(where: { fields[$0] != nil }) else {
        return message
      }
      if flag(of: message) == false { untrained.insert(index) }
      for key in keys { fields[key] = nil }
      return .object(fields)
    }
    return (plain, untrained)
  }
}

extension Fields {
  /// Checks what a message says about training.
  ///
  /// - Parameters:
  ///   - message: The members of the message.
  ///   - name: What errors call it, such as `messages[1]`.
  ///   - role: Who speaks.
  /// - Throws: `DatasetError` for a value of a wrong type, for two that differ, and for a message that
  ///   cannot be trained on.
  func checkTraining(
    _ message: JSONObject, named name: String, role: String
  ) throws(DatasetError) {
    var said: [(key: String, counts: Bool)] = []
    if let value = message["train"], !value.isNull {
      guard let flag = value.boolValue else {
        throw wrongType("\(name).train", "true or false", value)
      }
      said.append(("train", flag))
    }
    if let value = message["weight"], !value.isNull {
      guard let number = value.doubleValue, number == 0 || number == 1 else {
        throw .wrongType(
          at: place, key: "\(name).weight", expected: "0 or 1", actual: value.serialized())
      }
      said.append(("weight", number == 1))
    }
    if let first = said.first, let last = said.last, first.counts != last.counts {
      throw .wrongType(
        at: place, key: "\(name).weight", expected: "what \"train\" of the same message says",
        actual: "the opposite")
    }
    if let asked = said.first(where: \.counts), role != "assistant" {
      throw .wrongType(
        at: place, key: "\(name).\(asked.key)",
        expected: "absent or \(asked.key == "train" ? "false" : "0") on a message of the \(role)",
        actual: "a wish to train on it; the loss counts the assistant's messages only")
    }
  }
}

extension ExampleEncoder {
  /// Leaves out the spans of messages that are not trained on.
  ///
  /// - Parameters:
  ///   - rendered: The text of the conversation with all of the assistant's spans.
  ///   - conversation: The conversation.
  ///   - chat: The template that wrote it.
  ///   - place: Where the record stands.
  /// - Returns: The text with the spans that count.
  /// - Throws: `DatasetError` where that cannot be told.
  func trained(
    _ rendered: RenderedChat, of conversation: Conversation, by chat: ChatTemplate,
    at place: RecordLocation
  ) throws(DatasetError) -> RenderedChat {
    guard !conversation.untrained.isEmpty else { return rendered }
    guard !trainsOnPrompt else {
      throw .conversation(
        at: place,
        reason: "a message says \"train\": false or \"weight\": 0, and --train-on-prompt counts "
          + "everything; use one of the two")
    }
    let owners = try owners(of: rendered, conversation, chat, place)
    var result = rendered
    result.assistantSpans = zip(rendered.assistantSpans, owners)
      .filter { !conversation.untrained.contains($0.1) }.map(\.0)
    return result
  }

  /// The message that each span belongs to.
  ///
  /// Without `{% generation %}` blocks every message of the assistant has one span. With them the spans
  /// that the conversation has through a message and not before it are the message's; each has some.
  private func owners(
    of rendered: RenderedChat, _ conversation: Conversation, _ chat: ChatTemplate,
    _ place: RecordLocation
  ) throws(DatasetError) -> [Int] {
    let answers = conversation.messages.indices.filter {
      conversation.messages[$0]["role"]?.stringValue == "assistant"
    }
    guard chat.hasGenerationBlocks else { return answers }
    var owners: [Int] = []
    for index in answers {
      var beginning = conversation
      beginning.messages = Array(conversation.messages[...index])
      let count = try rendering(of: beginning, by: chat, at: place).assistantSpans.count
      guard count > owners.count else {
        owners = []
        break
      }
      owners += Array(repeating: index, count: count - owners.count)
    }
    guard owners.count == rendered.assistantSpans.count else {
      throw .conversation(
        at: place,
        reason:
          "the template's {% generation %} blocks do not tell which message they belong to, so "
          + "that \"train\" and \"weight\" of messages cannot be obeyed")
    }
    return owners
  }
}
