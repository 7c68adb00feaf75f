public import Tokenizers

/// Turns pairs of texts into what an encoder reads and what the decoder behind it has to write.
///
/// - `{"source", "target"}` are taken as they are; of `{"prompt", "completion"}` the prompt is read and
///   the completion written, of `{"instruction", "input"?, "output"}` instruction and input with an
///   empty line between them, behind the system text where there is one.
/// - Both texts get the special tokens that the tokenizer adds of its own accord, such as `</s>` at the
///   end. Where it adds none behind a text, what is written ends with its end-of-text token: else a
///   model does not learn to stop.
/// - What is too long loses its end, but for special tokens, each text by a length of its own.
public struct Seq2SeqEncoder: Sendable {
  let tokenizer: Tokenizer
  let maximumLength: Int
  let maximumTargetLength: Int
  /// Special tokens around what is read.
  let frame: SpecialTokenFrame
  /// Those around what is written.
  let targetFrame: SpecialTokenFrame
  private let endIDs: Set<Int>

  /// Makes an encoder.
  ///
  /// - Parameters:
  ///   - tokenizer: The model's.
  ///   - maximumLength: Most tokens that are read.
  ///   - maximumTargetLength: Most tokens that are written; nil for as many.
  /// - Throws: ``DatasetError/invalidOption(name:expected:actual:)`` when special tokens alone are
  ///   longer.
  public init(
    tokenizer: Tokenizer, maximumLength: Int, maximumTargetLength: Int? = nil
  ) throws(DatasetError) {
    self.tokenizer = tokenizer
    self.maximumLength = maximumLength
    self.maximumTargetLength = maximumTargetLength ?? maximumLength
    frame = SpecialTokenFrame(of: tokenizer)
    var written = frame
    if written.after.isEmpty, let end = tokenizer.endOfTextID { written.after = [end] }
    targetFrame = written
    endIDs = Set(tokenizer.addedTokens.filter(\.token.isSpecial).map(\.id))
      .union([tokenizer.endOfTextID].compactMap { $0 })
    for (name, length, frame) in [
      ("max-length", self.maximumLength, frame),
      ("max-target-length", self.maximumTargetLength, targetFrame),
    ] {
      let least = frame.before.count + frame.after.count + 1
      guard length >= least else {
        throw .invalidOption(name: name, expected: "at least \(least)", actual: "\(length)")
      }
    }
  }

  /// Encodes records.
  ///
  /// - Parameters:
  ///   - records: Pairs of texts.
  ///   - file: For messages.
  /// - Returns: The examples, in order, and what was done to them.
  /// - Throws: ``DatasetError`` naming the line of a record that is no pair of texts, or the file when
  ///   there is none.
  public func encode(
    _ records: [LocatedRecord], file: String
  ) throws(DatasetError) -> (examples: [TokenizedExample], report: EncodingReport) {
    var report = EncodingReport()
    var examples: [TokenizedExample] = []
    for record in records { examples.append(try encoded(record, &report).example) }
    guard !examples.isEmpty else { throw .emptyData(path: file) }
    return (examples, report)
  }

  /// Encodes a file record by record, without holding its text.
  ///
  /// - Parameter path: A file of pairs of texts.
  /// - Returns: The examples, in the order of the file, and what was done to them.
  /// - Throws: ``DatasetError`` naming the first line that cannot be read or is no pair of texts.
  public func encode(
    path: String
  ) throws(DatasetError) -> (examples: [TokenizedExample], report: EncodingReport) {
    var reader = try RecordReader(path: path)
    var report = EncodingReport()
    var examples: [TokenizedExample] = []
    while let record = try reader.next() {
      examples.append(try encoded(record, &report).example)
    }
    report.ignoredKeys = reader.ignoredKeys
    return (examples, report)
  }

  /// The tokens that the encoder reads for a record, shortened as in training.
  ///
  /// - Parameter record: A pair of texts or one alone.
  /// - Returns: The tokens.
  /// - Throws: ``DatasetError`` when the record is no such text.
  public func sourceIDs(of record: LocatedRecord) throws(DatasetError) -> [Int] {
    try read(Self.texts(of: record).source, at: record.location).kept
  }

  /// The texts of a record.
  ///
  /// - Parameter located: A record.
  /// - Returns: What is read, and what has to be written; nil for a text alone.
  /// - Throws: ``DatasetError`` for a record that is no pair of texts, such as a conversation.
  public static func texts(
    of located: LocatedRecord
  ) throws(DatasetError) -> (source: String, target: String?) {
    switch located.record {
    case .sourceTarget(let source, let target): return (source, target)
    case .promptCompletion(let prompt, let completion): return (prompt, completion)
    case .prompt(let prompt): return (prompt, nil)
    case .instruction(let task, let input, let output, let system, let history):
      guard history.isEmpty else {
        throw .conversation(
          at: located.location,
          reason: "an instruction with a history is a conversation, which a model that reads one "
            + "text and writes another cannot follow")
      }
      let parts = [system, task, input].filter { !$0.isEmpty }
      return (parts.joined(separator: "\n\n"), output)
    case .text, .messages, .labeled, .labeledTokens, .question:
      throw .incompatibleFormat(
        at: located.location,
        expected: "\(RecordFormat.sourceTarget.spelling), prompt and completion or instruction",
        actual: located.record.format.spelling)
    }
  }

  /// A text's tokens and those of them that a length leaves.
  struct Cut: Equatable {
    var whole: [Int]
    /// Positions that were lost.
    var lost: Range<Int>
    var kept: [Int] { Array(whole[..<lost.lowerBound] + whole[lost.upperBound...]) }
  }

  /// A record on its way.
  struct Encoded {
    let source: Cut
    let target: Cut
    let example: TokenizedExample
    let isEndless: Bool
  }

  /// Encodes one record and counts it.
  func encoded(
    _ record: LocatedRecord, _ report: inout EncodingReport
  ) throws(DatasetError) -> Encoded {
    let (text, answer) = try Self.texts(of: record)
    guard let answer else {
      throw .missingKey(at: record.location, key: "completion", found: ["prompt"])
    }
    let source = try read(text, at: record.location)
    let target = Self.cut(written(answer), maximumTargetLength, targetFrame)
    let example = TokenizedExample(
      source: source.kept.map { Int32($0) }, decoderLabels: target.kept.map { Int32($0) },
      task: record.task)
    let isEndless = target.kept.last.map { !endIDs.contains($0) } ?? true
    report.recordCount += 1
    if !source.lost.isEmpty || !target.lost.isEmpty {
      report.truncatedCount += 1
      report.firstTruncated = report.firstTruncated ?? record.location
    }
    if isEndless {
      report.endlessCount += 1
      report.firstEndless = report.firstEndless ?? record.location
    }
    report.tokenCount += example.ids.count + target.kept.count
    report.targetCount += example.targetCount
    report.longest = max(report.longest, example.ids.count)
    report.longestTarget = max(report.longestTarget, target.kept.count)
    return Encoded(source: source, target: target, example: example, isEndless: isEndless)
  }

  private func read(_ text: String, at place: RecordLocation) throws(DatasetError) -> Cut {
    let ids = tokenizer.encode(text)
    guard !ids.isEmpty else {
      throw .conversation(at: place, reason: "the text to read has no tokens")
    }
    return Self.cut(ids, maximumLength, frame)
  }

  private func written(_ text: String) -> [Int] {
    let ids = tokenizer.encode(text)
    guard frame.after.isEmpty, ids.last != targetFrame.after.last else { return ids }
    return ids + targetFrame.after
  }

  /// Takes tokens from the end that are too many, but for the special ones there.
  private static func cut(_ ids: [Int], _ length: Int, _ frame: SpecialTokenFrame) -> Cut {
    let end = ids.suffix(frame.after.count).elementsEqual(frame.after) ? frame.after.count : 0
    let last = ids.count - end
    return Cut(whole: ids, lost: ids.count > length ? length - end..<last : last..<last)
  }
}
