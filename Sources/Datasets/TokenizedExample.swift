/// Label of a position that nothing is asked for.
public let ignoredLabelID: Int32 = -100

/// One training example as token ids.
public struct TokenizedExample: Equatable, Sendable {
  /// The tokens.
  public var ids: [Int32]
  /// The token that is right at each position (not shifted), or -100 where nothing is asked.
  public var labels: [Int32]
  /// Task of the example, for adapters that have several; nil for none.
  public var task: Int?

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

  /// Labels that count: not ignored and not the first position, which nothing predicts.
  public var targetCount: Int { labels.dropFirst().count { $0 != ignoredLabelID } }
}
