import JSONValues
import Tokenizers

extension ExampleEncoder {
  /// What a record becomes before it is encoded.
  enum Script: Equatable {
    /// A text, of which the second part is asked; the second part is absent in a bare prompt.
    case plain(prompt: String, answer: String?)
    /// Messages for the chat template.
    case conversation(Conversation)
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
    case .conversation(var conversation):
      let isAnswer = { (message: JSON) in message["role"]?.stringValue == "assistant" }
      let messages = conversation.messages
      conversation.messages =
        messages.lastIndex { !isAnswer($0) }.map { Array(messages[...$0]) } ?? []
      let text = try text(of: conversation, addGenerationPrompt: true, at: located.location)
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
    case .instruction(_, _, let output, _, _): output
    case .messages(let messages, _, _) where messages.last?["role"]?.stringValue == "assistant":
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
    case .instruction(let task, let input, let output, let system, let history):
      if promptStyle == .chat {
        var messages: [JSON] = []
        if !system.isEmpty { messages.append(["role": "system", "content": .string(system)]) }
        for turn in history { messages += exchange(turn.instruction, turn.output) }
        messages += exchange(input.isEmpty ? task : "\(task)\n\n\(input)", output)
        return .conversation(Conversation(messages: messages))
      }
      guard history.isEmpty else {
        throw .conversation(
          at: located.location,
          reason: "an instruction with a history is a conversation; use --prompt-style chat")
      }
      let preamble = system.isEmpty ? "" : "\(system)\n\n"
      let material = input.isEmpty ? "" : "### Input:\n\(input)\n\n"
      return .plain(
        prompt: "\(preamble)### Instruction:\n\(task)\n\n\(material)### Response:\n",
        answer: output)
    case .messages(let messages, let tools, let variables):
      let (plain, untrained) = MessageTraining.split(messages)
      return .conversation(
        Conversation(messages: plain, tools: tools, variables: variables, untrained: untrained))
    case .labeled, .labeledTokens, .question, .sourceTarget:
      throw .incompatibleFormat(
        at: located.location, expected: "text, prompt and completion, messages or instruction",
        actual: located.record.format.spelling)
    }
  }

  private func question(_ prompt: String, _ answer: String?) -> Script {
    guard promptStyle == .chat else { return .plain(prompt: prompt, answer: answer) }
    return .conversation(Conversation(messages: exchange(prompt, answer)))
  }

  /// A user's message and the answer to it.
  private func exchange(_ prompt: String, _ answer: String?) -> [JSON] {
    let question: JSON = ["role": "user", "content": .string(prompt)]
    guard let answer else { return [question] }
    return [question, ["role": "assistant", "content": .string(answer)]]
  }
}
