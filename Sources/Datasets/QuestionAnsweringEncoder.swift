public import Tokenizers

/// Turns questions about texts into examples that are asked where the answer begins and ends.
///
/// Question and text make a pair with the special tokens of the tokenizer. A text that is too long is
/// cut into windows that overlap, each with the whole question. An answer that is not wholly in a window,
/// or that there is none, is asked at the row's first position. White space before a question goes.
///
/// What is asked is as in transformers' example `run_qa`.
public struct QuestionAnsweringEncoder: Sendable {
  let tokenizer: Tokenizer
  let maximumLength: Int
  let stride: Int
  let segmentCount: Int

  /// Makes an encoder.
  ///
  /// - Parameters:
  ///   - tokenizer: The model's.
  ///   - maximumLength: Most tokens of an example.
  ///   - stride: Tokens of a text that a window has in common with the one before.
  ///   - segmentCount: Segments that the model tells apart.
  /// - Throws: ``DatasetError/invalidOption(name:expected:actual:)`` for a length or stride that leaves
  ///   no room.
  public init(
    tokenizer: Tokenizer, maximumLength: Int, stride: Int, segmentCount: Int = 0
  ) throws(DatasetError) {
    self.tokenizer = tokenizer
    self.maximumLength = maximumLength
    self.stride = stride
    self.segmentCount = segmentCount
    try SpecialTokenFrame(of: tokenizer).check(maximumLength: maximumLength)
    guard stride >= 0, stride < maximumLength else {
      throw .invalidOption(
        name: "stride", expected: "0 to \(maximumLength - 1), below max-length",
        actual: "\(stride)")
    }
  }

  /// A part of a text with its question.
  public struct Window: Equatable, Sendable {
    /// Tokens, and the first and last position of the answer.
    public let example: TokenizedExample
    /// The number of the record that it is of.
    public let record: Int
    /// For each token where it stands in the text, in Unicode scalars; nil outside of it.
    public let spans: [Range<Int>?]

    /// Makes a window.
    ///
    /// - Parameters:
    ///   - example: Tokens, and the first and last position of the answer.
    ///   - record: The number of the record that it is of.
    ///   - spans: For each token where it stands in the text; nil outside of it.
    public init(example: TokenizedExample, record: Int, spans: [Range<Int>?]) {
      self.example = example
      self.record = record
      self.spans = spans
    }
  }

  /// Encodes records.
  ///
  /// - Parameters:
  ///   - records: Questions.
  ///   - file: For messages.
  /// - Returns: The windows, in the order of the records, and what was done to them.
  /// - Throws: ``DatasetError`` naming the line of a record that has another form or whose question
  ///   leaves no room for the text.
  public func encode(
    _ records: [LocatedRecord], file: String
  ) throws(DatasetError) -> (windows: [Window], report: EncodingReport) {
    var report = EncodingReport()
    report.asksRows = true
    var all: [Window] = []
    for (number, located) in records.enumerated() {
      let windows = try windows(of: located, number: number)
      report.recordCount += 1
      report.windowCount += windows.count
      for window in windows { report.count(window.example) }
      all += windows
    }
    guard !all.isEmpty else { throw .emptyData(path: file) }
    return (all, report)
  }

  private func windows(
    of located: LocatedRecord, number: Int
  ) throws(DatasetError) -> [Window] {
    guard case .question(let question, let context, let answers) = located.record else {
      throw .incompatibleFormat(
        at: located.location, expected: RecordFormat.questionContext.spelling,
        actual: located.record.format.spelling)
    }
    let asked = String(question.drop { $0.isWhitespace })
    let whole: Encoding
    do {
      whole = try tokenizer.encoding(
        of: .text(asked), pair: .text(context),
        truncation: Truncation(
          maximumLength: maximumLength, strategy: .onlySecond, stride: stride))
    } catch {
      throw .invalidOption(
        name: "max-length",
        expected: "room for the question of \(located.location) and more than \(stride) tokens of "
          + "its context (see --stride)", actual: "\(maximumLength)")
    }
    let answer = answers.first.map { $0.start..<$0.start + $0.text.unicodeScalars.count }
    // Tokenizers without special tokens for pairs do not say in later windows what is of which text; the
    // question and what stands behind the context are the same in all of them.
    let sequences = whole.sequenceIDs
    let before = sequences.firstIndex(of: 1) ?? sequences.count
    let behind = sequences.count - 1 - (sequences.lastIndex(of: 1) ?? -1)
    return ([whole] + whole.overflowing).map { part in
      let spans = part.offsets.enumerated().map { place, offsets -> Range<Int>? in
        place >= before && place < part.count - behind
          ? offsets.start..<max(offsets.start, offsets.end) : nil
      }
      let place = answer.flatMap { Self.place(of: $0, in: spans) } ?? 0..<1
      return Window(
        example: TokenizedExample(
          ids: part.ids.map { Int32($0) }, tokenTypes: part.segments(count: segmentCount),
          target: [Double(place.lowerBound), Double(place.upperBound - 1)], task: located.task),
        record: number, spans: spans)
    }
  }

  /// The tokens of an answer; nil where a window does not have all of it.
  private static func place(of answer: Range<Int>, in spans: [Range<Int>?]) -> Range<Int>? {
    guard let first = spans.firstIndex(where: { $0 != nil }),
      let last = spans.lastIndex(where: { $0 != nil }),
      let from = spans[first], let to = spans[last],
      from.lowerBound <= answer.lowerBound, to.upperBound >= answer.upperBound
    else { return nil }
    // The last token that begins at the answer or before it, the first that ends at its end or behind.
    var (start, end) = (first, last)
    while start + 1 <= last, let next = spans[start + 1], next.lowerBound <= answer.lowerBound {
      start += 1
    }
    while end - 1 >= first, let before = spans[end - 1], before.upperBound >= answer.upperBound {
      end -= 1
    }
    return start <= end ? start..<end + 1 : nil
  }
}
