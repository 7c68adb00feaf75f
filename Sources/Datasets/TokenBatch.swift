/// Rows of token ids of one length, ready for a model.
public struct TokenBatch: Equatable, Sendable {
  /// Number of rows.
  public let rowCount: Int
  /// Tokens of each row, padding included.
  public let length: Int
  /// Ids, row after row.
  public let ids: [Int32]
  /// Labels, not shifted; -100 at padding and, unless they are asked at their own positions, at the
  /// first position of each document.
  public let labels: [Int32]
  /// Position of each token in its document; nil when rows are not packed.
  public let positions: [Int32]?
  /// Document of each token, 1 and up, 0 for padding; nil when rows are not packed.
  public let sequenceIDs: [Int32]?
  /// Segment of each token; nil where no example has any.
  public let tokenTypes: [Int32]?
  /// What is right for each row; nil where labels of tokens are asked.
  public let targets: [[Double]]?
  /// What a decoder behind an encoder has to write, `decoderLength` for each row, -100 behind its end;
  /// nil for models without one.
  public let decoderLabels: [Int32]?
  /// Labels of each row of `decoderLabels`.
  public let decoderLength: Int
  /// Task of each row, that of its first example; nil when a row has none.
  public let tasks: [Int]?
  /// Tokens of each row without padding.
  public let rowLengths: [Int]
  /// Tokens that are not padding, those that a decoder writes among them.
  public let tokenCount: Int
  /// Labels that count towards the loss.
  public let targetCount: Int

  /// Whether a row holds more than one document.
  public var isPacked: Bool { sequenceIDs != nil }

  /// Joins examples to rows, padded on the right.
  ///
  /// - Parameters:
  ///   - rows: The examples of each row; more than one are packed, each its own document.
  ///   - paddingID: Fills rows up.
  ///   - minimumLength: Tokens of a row at least.
  public init(rows: [[TokenizedExample]], paddingID: Int32, minimumLength: Int = 0) {
    rowLengths = rows.map { $0.reduce(0) { $0 + $1.ids.count } }
    let longest = max(rowLengths.max() ?? 0, minimumLength)
    let isPacked = rows.contains { $0.count > 1 }
    var (ids, labels, positions, documents) = ([Int32](), [Int32](), [Int32](), [Int32]())
    for (row, used) in zip(rows, rowLengths) {
      for (number, example) in row.enumerated() {
        ids += example.ids
        // What begins a document is not predicted from the one before.
        labels +=
          example.isAligned
          ? example.labels
          : example.labels.prefix(1).map { _ in ignoredLabelID } + example.labels.dropFirst()
        positions += (0..<Int32(example.ids.count))
        documents += Array(repeating: Int32(number + 1), count: example.ids.count)
      }
      let padding = longest - used
      ids += Array(repeating: paddingID, count: padding)
      labels += Array(repeating: ignoredLabelID, count: padding)
      positions += Array(repeating: 0, count: padding)
      documents += Array(repeating: 0, count: padding)
    }
    let hasTypes = rows.joined().contains { $0.tokenTypes != nil }
    tokenTypes =
      hasTypes
      ? rows.flatMap { row in
        let own = row.flatMap { $0.tokenTypes ?? Array(repeating: 0, count: $0.ids.count) }
        return own + Array(repeating: 0, count: longest - own.count)
      } : nil
    let targets = rows.compactMap { $0.first?.target }
    precondition(
      targets.isEmpty || targets.count == rows.count && !isPacked,
      "TokenBatch: \(targets.count) of \(rows.count) rows are asked as a whole")
    self.targets = targets.isEmpty ? nil : targets
    let written = rows.compactMap { $0.first?.decoderLabels }
    precondition(
      written.isEmpty || written.count == rows.count && !isPacked,
      "TokenBatch: \(written.count) of \(rows.count) rows have a text to write")
    let width = written.map(\.count).max() ?? 0
    decoderLength = width
    decoderLabels =
      written.isEmpty
      ? nil
      : written.flatMap { $0 + Array(repeating: ignoredLabelID, count: width - $0.count) }
    let tasks = rows.compactMap { $0.first?.task }
    self.tasks = tasks.count == rows.count ? tasks : nil
    rowCount = rows.count
    length = longest
    self.ids = ids
    self.labels = labels
    self.positions = isPacked ? positions : nil
    sequenceIDs = isPacked ? documents : nil
    tokenCount = rowLengths.reduce(0, +) + written.reduce(0) { $0 + $1.count }
    targetCount = rows.joined().reduce(0) { $0 + $1.targetCount }
  }
}
