import JSONValues
public import Tokenizers

/// Turns records into token ids and labels.
///
/// The loss counts completions or an assistant's tokens only, unless `trainsOnPrompt` is set; of
/// plain text it counts everything.
///
/// - Text, prompt with completion, instruction: the tokenizer's own beginning-of-text token comes
///   first if it has one, and an end-of-text token last, unless the text spells them itself.
///   Without the end a model does not learn to stop.
/// - An instruction is a prompt of the form below, without the middle part if there is no input,
///   and its output the completion:
///   `### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n`.
/// - Messages are written by the model's chat template, and nothing is added to it. The assistant's
///   parts are what the template marks with `{% generation %}`, else what it writes for each of the
///   assistant's messages after a generation prompt, up to and with the end-of-text token. A message
///   with `"train": false` or `"weight": 0` is not asked.
/// - A whole number under `task_id`, beside the keys of any format, is the row's task.
/// - An example that is too long keeps its answer: the prompt loses tokens from the left (never a
///   beginning-of-text token) until an eighth of the longest length is left of it, then the answer
///   loses its end, with the end-of-text token.
public struct ExampleEncoder: Sendable {
  /// How a prompt and its completion become text.
  public enum PromptStyle: String, Sendable, CaseIterable {
    /// One after the other.
    case plain
    /// As a user's message and the assistant's answer, by the model's chat template.
    case chat
  }

  let tokenizer: Tokenizer
  let templates: ChatTemplates
  let maximumLength: Int
  let trainsOnPrompt: Bool
  let promptStyle: PromptStyle
  let frame: SpecialTokenFrame
  /// Tokens by which an answer can end.
  let endIDs: Set<Int>

  /// Makes an encoder.
  ///
  /// - Parameters:
  ///   - tokenizer: The model's.
  ///   - maximumLength: Most tokens of an example, at least 2.
  ///   - trainsOnPrompt: Whether the loss counts prompts too.
  ///   - promptStyle: How a prompt and its completion become text.
  ///   - chatTemplate: The source of a chat template to use instead of the model's.
  ///   - chatTemplateName: The one of the model's named templates to use for everything.
  /// - Throws: ``DatasetError`` or `ChatTemplateError` when the length is too small, or the style
  ///   needs a chat template and the model has none that works.
  public init(
    tokenizer: Tokenizer, maximumLength: Int, trainsOnPrompt: Bool = false,
    promptStyle: PromptStyle = .plain, chatTemplate: String? = nil, chatTemplateName: String? = nil
  ) throws {
    guard maximumLength >= 2 else {
      throw DatasetError.invalidOption(
        name: "max-length", expected: "at least 2", actual: "\(maximumLength)")
    }
    self.tokenizer = tokenizer
    self.maximumLength = maximumLength
    self.trainsOnPrompt = trainsOnPrompt
    self.promptStyle = promptStyle
    frame = SpecialTokenFrame(of: tokenizer)
    endIDs = Set(tokenizer.addedTokens.filter(\.token.isSpecial).map(\.id))
      .union([tokenizer.endOfTextID].compactMap { $0 })
    templates = try ChatTemplates(
      of: tokenizer, replacement: chatTemplate, name: chatTemplateName)
    if promptStyle == .chat && templates.standard == nil {
      throw DatasetError.invalidOption(
        name: "prompt-style", expected: "plain, as \(templates.absence)", actual: "chat")
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
    for record in records { try append(record, to: &examples, &report) }
    try checkSomethingIsLeft(examples, file, report)
    return (examples, report)
  }

  /// Encodes a file record by record, without holding its text.
  ///
  /// - Parameter path: A JSONL file for language model training.
  /// - Returns: The examples, in the order of the file, and what was done to them.
  /// - Throws: ``DatasetError`` naming the first line that cannot be read or encoded, or the file
  ///   when no example is left.
  public func encode(
    path: String
  ) throws -> (examples: [TokenizedExample], report: EncodingReport) {
    var reader = try RecordReader(path: path, family: .languageModel)
    var examples: [TokenizedExample] = []
    var report = EncodingReport()
    while let record = try reader.next() { try append(record, to: &examples, &report) }
    report.ignoredKeys = reader.ignoredKeys
    try checkSomethingIsLeft(examples, path, report)
    return (examples, report)
  }

  private func checkSomethingIsLeft(
    _ examples: [TokenizedExample], _ file: String, _ report: EncodingReport
  ) throws(DatasetError) {
    guard examples.isEmpty else { return }
    throw .nothingToTrain(
      file: file,
      reason: "none of \(report.recordCount) examples has a token that the loss counts")
  }

  private func append(
    _ record: LocatedRecord, to examples: inout [TokenizedExample], _ report: inout EncodingReport
  ) throws {
    let encoded = try encoded(record)
    report.count(encoded)
    if encoded.isKept { examples.append(encoded.example) }
  }

  /// Encodes one record, whether anything in it is asked or not.
  func encoded(_ record: LocatedRecord) throws(DatasetError) -> EncodedRecord {
    let whole = try draft(of: record)
    var draft = whole
    let truncation = draft.truncate(to: maximumLength)
    var example = draft.example(trainsOnPrompt: trainsOnPrompt)
    example.task = record.task
    return EncodedRecord(
      location: record.location, whole: whole, truncation: truncation, example: example,
      isEndless: isEndless(whole), beginsTwice: beginsTwice(whole))
  }

  private func draft(of located: LocatedRecord) throws(DatasetError) -> ExampleDraft {
    switch try script(of: located) {
    case .plain(let prompt, let answer):
      return framed(TextSegments(given: prompt, asked: answer ?? ""))
    case .conversation(let conversation):
      return try draft(of: conversation, at: located.location)
    }
  }

  /// Plain text between the tokens that begin and end a text.
  private func framed(_ text: TextSegments) -> ExampleDraft {
    let (ids, asked, mergesAcross) = text.encoded(with: tokenizer)
    let before = frame.missing(before: ids)
    var draft = ExampleDraft(ids: before + ids, asked: asked, mergesAcross: mergesAcross)
    draft.asked = asked.map { $0.lowerBound + before.count..<$0.upperBound + before.count }
    draft.frameCount = ids.starts(with: frame.before) ? frame.before.count : before.count
    let end = tokenizer.endOfTextID.map { [$0] } ?? frame.after
    if !end.isEmpty, !draft.ids.ends(with: end) {
      draft.ids += end
      if let last = draft.asked.popLast() {
        draft.asked.append(last.lowerBound..<draft.ids.count)
      }
    }
    return draft
  }

  /// A conversation by the chat template, cut at the borders of the assistant's parts.
  func draft(
    of conversation: Conversation, at place: RecordLocation
  ) throws(DatasetError) -> ExampleDraft {
    let chat = try template(for: conversation, at: place)
    let rendered = try rendered(conversation, by: chat, at: place)
    let text = TextSegments(rendered.text, asked: rendered.assistantSpans)
    var (ids, asked, mergesAcross) = text.encoded(with: tokenizer)
    if !chat.hasGenerationBlocks, let end = tokenizer.endOfTextID {
      // What follows the end of a turn is written by the template, never by the model.
      asked = asked.map { range in
        ids[range].lastIndex(of: end).map { range.lowerBound..<$0 + 1 } ?? range
      }
    }
    var draft = ExampleDraft(ids: ids, asked: asked, mergesAcross: mergesAcross)
    if let begin = tokenizer.beginningOfTextID, ids.first == begin { draft.frameCount = 1 }
    return draft
  }
}

extension Array where Element: Equatable {
  /// Whether the last elements are these.
  fileprivate func ends(with other: [Element]) -> Bool { suffix(other.count).elementsEqual(other) }
}
