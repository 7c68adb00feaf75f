import JSONValues
public import Tokenizers

/// What encoding did to the data.
public struct EncodingReport: Equatable, Sendable {
  /// Records that were read.
  public var recordCount = 0
  /// Examples that were shortened to the longest length.
  public var truncatedCount = 0
  /// Examples left out because nothing in them is asked.
  public var droppedCount = 0
  /// Prompts whose tokens are not the first tokens of prompt and completion together; they were
  /// encoded apart.
  public var boundaryCount = 0
  /// Tokens of all examples.
  public var tokenCount = 0
  /// Tokens that count towards the loss.
  public var targetCount = 0
  /// Tokens of the longest example, after truncation.
  public var longest = 0
}

/// Turns records into token ids and labels.
///
/// The loss counts completions or an assistant's tokens only, unless `trainsOnPrompt` is set; of
/// plain text it counts everything. A text that does not end with the end-of-text token gets one.
public struct ExampleEncoder {
  /// How a prompt and its completion become text.
  public enum PromptStyle: String, Sendable, CaseIterable {
    /// One after the other.
    case plain
    /// As a user's message and the assistant's answer, by the model's chat template.
    case chat
  }

  private let tokenizer: Tokenizer
  private let chat: ChatTemplate?
  private let maximumLength: Int
  private let trainsOnPrompt: Bool
  private let promptStyle: PromptStyle

  /// Makes an encoder.
  ///
  /// - Parameters:
  ///   - tokenizer: The model's.
  ///   - maximumLength: Most tokens of an example.
  ///   - trainsOnPrompt: Whether the loss counts prompts too.
  ///   - promptStyle: How a prompt and its completion become text.
  /// - Throws: ``DatasetError`` or `ChatTemplateError` when the style needs a chat template and the
  ///   model has none that works.
  public init(
    tokenizer: Tokenizer, maximumLength: Int, trainsOnPrompt: Bool = false,
    promptStyle: PromptStyle = .plain
  ) throws {
    self.tokenizer = tokenizer
    self.maximumLength = maximumLength
    self.trainsOnPrompt = trainsOnPrompt
    self.promptStyle = promptStyle
    chat = try tokenizer.chatTemplateSource.map { try ChatTemplate(source: $0) }
    if promptStyle == .chat && chat == nil {
      throw DatasetError.invalidOption(
        name: "prompt-style", expected: "plain, as the model has no chat template", actual: "chat")
    }
  }

  /// Encodes records.
  ///
  /// - Parameters:
  ///   - records: Records of text, of prompts with completions, of messages or of instructions.
  ///   - file: For messages.
  /// - Returns: The examples, in order, and what was done to them.
  /// - Throws: ``DatasetError`` naming the line of a record that cannot be encoded, or the file when
  ///   no example is left.
  public func encode(
    _ records: [LocatedRecord], file: String
  ) throws -> (examples: [TokenizedExample], report: EncodingReport) {
    var examples: [TokenizedExample] = []
    var report = EncodingReport()
    for record in records {
      report.recordCount += 1
      let example = truncated(try encode(record, &report), &report)
      guard example.targetCount > 0 else {
        report.droppedCount += 1
        continue
      }
      report.tokenCount += example.ids.count
      report.targetCount += example.targetCount
      report.longest = max(report.longest, example.ids.count)
      examples.append(example)
    }
    guard !examples.isEmpty else {
      throw DatasetError.nothingToTrain(
        file: file, reason: "no example has a token that the loss counts")
    }
    return (examples, report)
  }

  private func encode(
    _ located: LocatedRecord, _ report: inout EncodingReport
  ) throws -> TokenizedExample {
    switch located.record {
    case .text(let text):
      return labelled(prompt: [], completion: ended(tokenizer.encode(text)))
    case .promptCompletion(let prompt, let completion):
      if promptStyle == .chat {
        return try conversation(
          [
            ["role": "user", "content": .string(prompt)],
            ["role": "assistant", "content": .string(completion)],
          ],
          tools: nil, at: located.location)
      }
      return pair(prompt, completion, &report)
    case .instruction(let task, let input, let output):
      let material = input.isEmpty ? "" : "### Input:\n\(input)\n\n"
      return pair("### Instruction:\n\(task)\n\n\(material)### Response:\n", output, &report)
    case .messages(let messages, let tools):
      return try conversation(messages, tools: tools, at: located.location)
    case .prompt, .labeled, .sourceTarget:
      throw DatasetError.incompatibleFormat(
        at: located.location, expected: "text, prompt and completion, messages or instruction",
        actual: located.record.format.spelling)
    }
  }

  /// Prompt and completion together, so that tokens merge across their border as they will when the
  /// model writes; apart where the prompt's tokens would change by it.
  private func pair(
    _ prompt: String, _ completion: String, _ report: inout EncodingReport
  ) -> TokenizedExample {
    let head = tokenizer.encode(prompt)
    let whole = tokenizer.encode(prompt + completion)
    if whole.starts(with: head) {
      return labelled(prompt: head, completion: ended(Array(whole.dropFirst(head.count))))
    }
    report.boundaryCount += 1
    return labelled(
      prompt: head, completion: ended(tokenizer.encode(completion, addSpecialTokens: false)))
  }

  /// A conversation by the chat template, cut at the borders of the assistant's parts.
  private func conversation(
    _ messages: [JSON], tools: [JSON]?, at place: RecordLocation
  ) throws -> TokenizedExample {
    guard let chat else {
      throw DatasetError.conversation(at: place, reason: "the model has no chat template")
    }
    let names = tokenizer.specialTokens.map { (name: $0.name, value: $0.token) }
    let rendered: RenderedChat
    do {
      rendered =
        chat.hasGenerationBlocks
        ? try chat.renderWithAssistantSpans(
          messages: messages, tools: tools.map(JSON.array), specialTokens: names)
        : try chat.assistantSpans(
          messages: messages, tools: tools.map(JSON.array), specialTokens: names)
    } catch {
      throw DatasetError.conversation(at: place, reason: "\(error)")
    }
    let bytes = Array(rendered.text.utf8)
    var example = TokenizedExample(ids: [], labels: [])
    var position = 0
    func append(_ range: Range<Int>, counts: Bool) {
      guard !range.isEmpty else { return }
      let ids = tokenizer.encode(utf8: bytes[range], addSpecialTokens: false).map { Int32($0) }
      example.ids += ids
      example.labels +=
        counts || trainsOnPrompt ? ids : Array(repeating: ignoredLabelID, count: ids.count)
    }
    for span in rendered.assistantSpans {
      append(position..<span.lowerBound, counts: false)
      append(span, counts: true)
      position = span.upperBound
    }
    append(position..<bytes.count, counts: false)
    return example
  }

  private func ended(_ ids: [Int]) -> [Int] {
    guard let end = tokenizer.endOfTextID, ids.last != end else { return ids }
    return ids + [end]
  }

  private func labelled(prompt: [Int], completion: [Int]) -> TokenizedExample {
    let (head, tail) = (prompt.map { Int32($0) }, completion.map { Int32($0) })
    let headLabels = trainsOnPrompt ? head : Array(repeating: ignoredLabelID, count: head.count)
    return TokenizedExample(ids: head + tail, labels: headLabels + tail)
  }

  /// Keeps the answer: what nothing asks for goes first, from the left; then the end.
  private func truncated(
    _ example: TokenizedExample, _ report: inout EncodingReport
  ) -> TokenizedExample {
    let excess = example.ids.count - maximumLength
    guard excess > 0 else { return example }
    report.truncatedCount += 1
    let unasked = example.labels.prefix { $0 == ignoredLabelID }.count
    // One unasked token stays, for the first answer token to be predicted from.
    let cut = min(excess, max(unasked - 1, 0))
    let range = cut..<cut + maximumLength
    return TokenizedExample(ids: Array(example.ids[range]), labels: Array(example.labels[range]))
  }
}
