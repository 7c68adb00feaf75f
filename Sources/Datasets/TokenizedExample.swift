/// Label of a position that nothing is asked for.
public let ignoredLabelID: Int32 = -100

/// One training example as token ids.
public struct TokenizedExample: Equatable, Sendable {
  /// The tokens.
  public var ids: [Int32]
  /// What is right at each position (not shifted), a token or a class, or -100 where nothing is asked.
  public var labels: [Int32]
  /// Whether a label is asked at its own position, instead of being predicted from those before it.
  public var isAligned = false
  /// Task of the example, for adapters that have several; nil for none.
  public var task: Int?
  /// Segment of each token, for models that tell them apart; nil for the first one everywhere.
  public var tokenTypes: [Int32]?
  /// What is right for the whole row: the number of its class, numbers to predict, for each class
  /// whether it is right, or the first and last position of an answer; nil where `labels` are asked.
  public var target: [Double]?
  /// The tokens that a decoder has to write behind an encoder that reads `ids`, with their end; nil
  /// for models without one.
  public var decoderLabels: [Int32]?

  /// Makes an example.
  ///
  /// - Parameters:
  ///   - ids: The tokens.
  ///   - labels: As many labels.
  ///   - task: Task of the example.
  public init(ids: [Int32], labels: [Int32], task: Int? = nil) {
    precondition(ids.count == labels.count, "TokenizedExample: \(ids.count) != \(labels.count)")
    self.ids = ids
    self.labels = labels
    self.task = task
  }

  /// Makes an example whose labels are asked at their own positions.
  ///
  /// - Parameters:
  ///   - ids: The tokens.
  ///   - tokenTypes: As many segments, or nil.
  ///   - labels: As many labels.
  ///   - task: Task of the example.
  public init(
    ids: [Int32], tokenTypes: [Int32]? = nil, aligned labels: [Int32], task: Int? = nil
  ) {
    self.init(ids: ids, labels: labels, task: task)
    self.tokenTypes = tokenTypes
    isAligned = true
  }

  /// Makes an example of which the whole row is asked.
  ///
  /// - Parameters:
  ///   - ids: The tokens.
  ///   - tokenTypes: As many segments, or nil.
  ///   - target: What is right for the row.
  ///   - task: Task of the example.
  public init(ids: [Int32], tokenTypes: [Int32]? = nil, target: [Double], task: Int? = nil) {
    precondition(
      tokenTypes.map { $0.count == ids.count } ?? true,
      "TokenizedExample: \(tokenTypes?.count ?? 0) segments for \(ids.count) tokens")
    self.init(
      ids: ids, labels: Array(repeating: ignoredLabelID, count: ids.count), task: task)
    self.tokenTypes = tokenTypes
    self.target = target
  }

  /// Makes an example of a text that is read and another one that is written.
  ///
  /// - Parameters:
  ///   - source: Tokens that the encoder reads.
  ///   - decoderLabels: Tokens that the decoder has to write; what it begins with is not among them.
  ///   - task: Task of the example.
  public init(source: [Int32], decoderLabels: [Int32], task: Int? = nil) {
    self.init(
      ids: source, labels: Array(repeating: ignoredLabelID, count: source.count), task: task)
    self.decoderLabels = decoderLabels
  }

  /// Labels that count: not ignored and, unless they are asked at their own positions, not the first
  /// one, which nothing predicts; one where the whole row is asked.
  ///
  /// A decoder behind an encoder is asked for its first token too.
  public var targetCount: Int {
    if let decoderLabels { return decoderLabels.count { $0 != ignoredLabelID } }
    return target == nil
      ? labels.dropFirst(isAligned ? 0 : 1).count { $0 != ignoredLabelID } : 1
  }

  /// What rows of similar length are found by: tokens, then those that a decoder writes.
  var size: (read: Int, written: Int) { (ids.count, decoderLabels?.count ?? 0) }
}
