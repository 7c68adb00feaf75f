import JSONValues
import Tokenizers

/// What a chat template renders.
struct Conversation: Equatable {
  var messages: [JSON]
  var tools: [JSON]?
  /// More variables of the template.
  var variables = JSONObject()
}

/// A model's chat templates: the standard one, and one for conversations with tools where there is
/// one, as transformers chooses among named templates.
struct ChatTemplates {
  let standard: ChatTemplate?
  let toolUse: ChatTemplate?

  /// Those of a tokenizer, or one template for everything instead.
  init(of tokenizer: Tokenizer, replacement: String?) throws(ChatTemplateError) {
    guard let replacement else {
      func template(_ name: String) throws(ChatTemplateError) -> ChatTemplate? {
        guard let found = tokenizer.chatTemplateSources.first(where: { $0.name == name }) else {
          return nil
        }
        return try ChatTemplate(source: found.source)
      }
      standard = try template("default")
      toolUse = try template("tool_use")
      return
    }
    standard = try ChatTemplate(source: replacement)
    toolUse = nil
  }
}

extension ExampleEncoder {
  /// The special tokens that a template may name.
  var specialTokens: [(name: String, value: String)] {
    tokenizer.specialTokens.map { (name: $0.name, value: $0.token) }
  }

  func template(
    for conversation: Conversation, at place: RecordLocation
  ) throws(DatasetError) -> ChatTemplate {
    let chosen =
      conversation.tools == nil ? templates.standard : templates.toolUse ?? templates.standard
    guard let chosen else {
      throw .conversation(
        at: place, reason: "messages need a chat template, and the model has none")
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

  /// The text of a conversation and where the assistant speaks.
  func rendered(
    _ conversation: Conversation, by chat: ChatTemplate, at place: RecordLocation
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
