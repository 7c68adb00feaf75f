public import Tokenizers

/// Turns words with labels into examples that are asked for a class at the first token of each word.
///
/// Words get the special tokens that the tokenizer adds of its own accord. The further tokens of a word
/// and special tokens are asked for nothing. What is too long loses its end. Where the tokenizer writes a
/// space as a part of the word behind it, each word is encoded with a space before it, as transformers
/// does with `add_prefix_space`.
public struct TokenClassificationEncoder: Sendable {
  let tokenizer: Tokenizer
  let maximumLength: Int
  let labels: LabelSet
  let segmentCount: Int
  private let needsSpaces: Bool

  /// Makes an encoder.
  ///
  /// - Parameters:
  ///   - tokenizer: The model's.
  ///   - maximumLength: Most tokens of an example.
  ///   - labels: The classes, in the order of the model's outputs.
  ///   - segmentCount: Segments that the model tells apart.
  /// - Throws: ``DatasetError/invalidOption(name:expected:actual:)`` when special tokens alone are
  ///   longer.
  public init(
    tokenizer: Tokenizer, maximumLength: Int, labels: LabelSet, segmentCount: Int = 0
  ) throws {
    self.tokenizer = tokenizer
    self.maximumLength = maximumLength
    self.labels = labels
    self.segmentCount = segmentCount
    try SpecialTokenFrame(of: tokenizer).check(maximumLength: maximumLength)
    func ids(_ input: TokenizerInput) throws -> [Int] {
      try tokenizer.encoding(of: input, addSpecialTokens: false).ids
    }
    let text = try ids("a b")
    let spaced = try ids(.words([" a", " b"]))
    needsSpaces = try ids(.words(["a", "b"])) != text && spaced.last == text.last
  }

  /// An encoded record.
  public struct Row: Equatable, Sendable {
    /// Tokens and labels.
    public let example: TokenizedExample
    /// For each word its position in the row; nil for one without a token and for what was cut.
    public let positions: [Int?]
  }

  /// Encodes records.
  ///
  /// - Parameters:
  ///   - records: Words with labels.
  ///   - file: For messages.
  /// - Returns: The rows, in order, and what was done to them.
  /// - Throws: ``DatasetError`` naming the line of a record that has another form or another label.
  public func encode(
    _ records: [LocatedRecord], file: String
  ) throws -> (rows: [Row], report: EncodingReport) {
    var report = EncodingReport()
    var rows: [Row] = []
    for located in records {
      let (row, isCut) = try row(of: located)
      report.count(row.example, isCut: isCut, at: located.location)
      rows.append(row)
    }
    guard !rows.isEmpty else { throw DatasetError.emptyData(path: file) }
    return (rows, report)
  }

  private func row(of located: LocatedRecord) throws -> (row: Row, isCut: Bool) {
    guard case .labeledTokens(let words, let labels) = located.record else {
      throw DatasetError.incompatibleFormat(
        at: located.location, expected: RecordFormat.tokenLabels.spelling,
        actual: located.record.format.spelling)
    }
    let classes = try labels.map { (label) throws(DatasetError) in
      Int32(try self.labels.index(of: label, at: located.location))
    }
    let encoding = try tokenizer.encoding(
      of: .words(needsSpaces ? words.map { " " + $0 } : words),
      truncation: Truncation(maximumLength: maximumLength))
    var positions = [Int?](repeating: nil, count: words.count)
    var asked = [Int32](repeating: ignoredLabelID, count: encoding.count)
    for (place, word) in encoding.wordIDs.enumerated() {
      guard let word, !encoding.specialTokensMask[place], positions[word] == nil else { continue }
      positions[word] = place
      asked[place] = classes[word]
    }
    let example = TokenizedExample(
      ids: encoding.ids.map { Int32($0) }, tokenTypes: encoding.segments(count: segmentCount),
      aligned: asked, task: located.task)
    return (Row(example: example, positions: positions), !encoding.overflowing.isEmpty)
  }
}

extension Encoding {
  /// Segments for a model that tells as many apart; nil where all are the first one or do not fit.
  func segments(count: Int) -> [Int32]? {
    guard count > 1, typeIDs.contains(where: { $0 > 0 }), typeIDs.allSatisfy({ $0 < count }) else {
      return nil
    }
    return typeIDs.map { Int32($0) }
  }
}

extension EncodingReport {
  /// Adds an example of one record to the counts.
  mutating func count(_ example: TokenizedExample, isCut: Bool, at place: RecordLocation) {
    recordCount += 1
    if isCut {
      truncatedCount += 1
      firstTruncated = firstTruncated ?? place
    }
    count(example)
  }

  /// Adds one of the examples of a record to the sizes.
  mutating func count(_ example: TokenizedExample) {
    tokenCount += example.ids.count
    targetCount += example.targetCount
    longest = max(longest, example.ids.count)
  }
}

extension SpecialTokenFrame {
  /// Checks that a length has room for more than special tokens.
  func check(maximumLength: Int) throws(DatasetError) {
    let least = before.count + after.count + 1
    guard maximumLength >= least else {
      throw .invalidOption(
        name: "max-length", expected: "at least \(least)", actual: "\(maximumLength)")
    }
  }
}
