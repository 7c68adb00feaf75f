import JSONValues
import Tokenizers

extension ExampleEncoder {
  /// What a record becomes before it is encoded.
  enum Script: Equatable {
    /// A text, of which the second part is asked; the second part is absent in a bare prompt.
    case plain(prompt: String, answer: String?)
    /// Messages for the chat template.
    case conversation([JSON], tools: [JSON]?)
  }

  /// The tokens after which the model writes its answer to a record.
  ///
  /// They are the tokens that training puts before the answer, so that what is measured is what was
  /// trained.
  ///
  /// - Parameter located: A record; of a conversation, what follows the last message that is not
  ///   the assistant's is left out.
  /// - Returns: The tokens, not shortened; all of a plain text.
  /// - Throws: ``DatasetError`` when the record is for another task or the template refuses it.
  public func promptIDs(of located: LocatedRecord) throws(DatasetError) -> [Int] {
    switch try script(of: located) {
    case .plain(let prompt, let answer):
      let ids = tokenizer.encode(
        located.record.format == .text ? answer ?? "" : prompt, addSpecialTokens: false)
      return frame.missing(before: ids) + ids
    case .conversation(let messages, let tools):
      let isAnswer = { (message: JSON) in message["role"]?.stringValue == "assistant" }
      let asked = messages.lastIndex { !isAnswer($0) }.map { Array(messages[...$0]) } ?? []
      let template = try template(at: located.location)
      let text: String
      do {
        text = try template.render(
          messages: asked, tools: tools.map(JSON.array), addGenerationPrompt: true,
          specialTokens: specialTokens)
      } catch {
        throw .conversation(at: located.location, reason: "\(error)")
      }
      return tokenizer.encode(text, addSpecialTokens: false)
    }
  }

  /// The answer that a record wants, as text.
  ///
  /// - Parameter record: A record.
  /// - Returns: The completion, output or the last message if it is the assistant's; nil for plain
  ///   text and bare prompts.
  public static func answer(of record: DatasetRecord) -> String? {
    switch record {
    case .promptCompletion(_, let completion): completion
    case .instruction(_, _, let output): output
    case .messages(let messages, _) where messages.last?["role"]?.stringValue == "assistant":
      messages.last?["content"]?.stringValue
    case .sourceTarget(_, let target): target
    default: nil
    }
  }

  /// Puts a record into words: plain ones, or messages for the chat template.
  func script(of located: LocatedRecord) throws(DatasetError) -> Script {
    switch located.record {
    case .text(let text):
      return .plain(prompt: "", answer: text)
    case .promptCompletion(let prompt, let completion):
      return question(prompt, completion)
    case .prompt(let prompt):
      return question(prompt, nil)
    case .instruction(let task, let input, let output):
      if promptStyle == .chat {
        return question(input.isEmpty ? task : "\(task)\n\n\(input)", output)
      }
      let material = input.isEmpty ? "" : "### Input:\n\(input)\n\n"
      return .plain(
        prompt: "### Instruction:\n\(task)\n\n\(material)### Response:\n", answer: output)
    case .messages(let messages, let tools):
      return .conversation(messages, tools: tools)
    case .labeled, .sourceTarget:
      throw .incompatibleFormat(
        at: located.location, expected: "text, prompt and completion, messages or instruction",
        actual: located.record.format.spelling)
    }
  }

  private func question(_ prompt: String, _ answer: String?) -> Script {
    guard promptStyle == .chat else { return .plain(prompt: prompt, answer: answer) }
    var messages: [JSON] = [["role": "user", "content": .string(prompt)]]
    if let answer { messages.append(["role": "assistant", "content": .string(answer)]) }
    return .conversation(messages, tools: nil)
  }

  /// The special tokens that a template may name.
  var specialTokens: [(name: String, value: String)] {
    tokenizer.specialTokens.map { (name: $0.name, value: $0.token) }
  }

  func template(at place: RecordLocation) throws(DatasetError) -> ChatTemplate {
    guard let chat else {
      throw .conversation(
        at: place, reason: "messages need a chat template, and the model has none")
    }
    return chat
  }
}
