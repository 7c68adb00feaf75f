import JSONValues
import Tokenizers

/// What a chat template renders.
struct Conversation: Equatable {
  var messages: [JSON]
  var tools: [JSON]?
  /// More variables of the template.
  var variables = JSONObject()
  /// The places of messages of the assistant that the loss leaves out.
  var untrained: Set<Int> = []
}

extension ExampleEncoder {
  /// The special tokens that a template may name.
  var specialTokens: [(name: String, value: String)] {
    tokenizer.specialTokens.map { (name: $0.name, value: $0.token) }
  }

  func template(
    for conversation: Conversation, at place: RecordLocation
  ) throws(DatasetError) -> ChatTemplate {
    guard let chosen = templates.template(hasTools: conversation.tools != nil) else {
      throw .conversation(at: place, reason: "messages need a chat template: \(templates.absence)")
    }
    return chosen
  }

  /// The text of a conversation.
  func text(
    of conversation: Conversation, addGenerationPrompt: Bool, at place: RecordLocation
  ) throws(DatasetError) -> String {
    let chat = try template(for: conversation, at: place)
    do {
      return try chat.render(
        messages: conversation.messages, tools: conversation.tools.map(JSON.array),
        addGenerationPrompt: addGenerationPrompt, specialTokens: specialTokens,
        variables: conversation.variables)
    } catch {
      throw .conversation(at: place, reason: "\(error)")
    }
  }

  /// The text of a conversation and where the assistant says what is trained on.
  func rendered(
    _ conversation: Conversation, by chat: ChatTemplate, at place: RecordLocation
  ) throws(DatasetError) -> RenderedChat {
    try trained(
      try rendering(of: conversation, by: chat, at: place), of: conversation, by: chat, at: place)
  }

  /// The text of a conversation and where the assistant speaks.
  func rendering(
    of conversation: Conversation, by chat: ChatTemplate, at place: RecordLocation
  ) throws(DatasetError) -> RenderedChat {
    let tools = conversation.tools.map(JSON.array)
    do {
      return chat.hasGenerationBlocks
        ? try chat.renderWithAssistantSpans(
          messages: conversation.messages, tools: tools, specialTokens: specialTokens,
          variables: conversation.variables)
        : try chat.assistantSpans(
          messages: conversation.messages, tools: tools, specialTokens: specialTokens,
          variables: conversation.variables)
    } catch {
      throw .conversation(at: place, reason: "\(error)")
    }
  }
}
