/// What encoding did to the data.
public struct EncodingReport: Equatable, Sendable {
  /// Records that were read.
  public var recordCount = 0
  /// Examples that were shortened to the longest length.
  public var truncatedCount = 0
  /// Examples left out because nothing in them is asked.
  public var droppedCount = 0
  /// Records whose tokens merge across the border of prompt and answer; their parts were encoded
  /// apart, as they are when the model writes.
  public var boundaryCount = 0
  /// Records whose last answer has no end that the model could learn: no special token stands
  /// behind its words.
  public var endlessCount = 0
  /// Conversations that begin with the beginning-of-text token twice.
  public var doubledBeginningCount = 0
  /// Tokens of all examples.
  public var tokenCount = 0
  /// Tokens that count towards the loss.
  public var targetCount = 0
  /// Tokens of the longest example, after truncation.
  public var longest = 0
  /// Most tokens that a decoder behind an encoder has to write; zero for other models.
  public var longestTarget = 0
  /// The first record that was shortened.
  public var firstTruncated: RecordLocation?
  /// The first record that was left out.
  public var firstDropped: RecordLocation?
  /// Whether each row is asked one thing as a whole.
  public var asksRows = false
  /// Windows that the texts of questions were cut into; 0 for other data.
  public var windowCount = 0
  /// The first record whose answer has no end.
  public var firstEndless: RecordLocation?
  /// The first record that begins twice.
  public var firstDoubledBeginning: RecordLocation?
  /// How many records have each key that no format uses.
  public var ignoredKeys: [String: Int] = [:]

  /// Makes the report of nothing.
  public init() {}

  /// Examples that are left to train on.
  public var exampleCount: Int { recordCount - droppedCount }
}

extension EncodingReport: CustomStringConvertible {
  /// One line of sizes, and a line for each thing that was not used as it stands in the file.
  public var description: String {
    let windows = windowCount > exampleCount ? " in \(windowCount) windows" : ""
    let share = tokenCount > 0 ? (1000 * targetCount + tokenCount / 2) / tokenCount : 0
    var lines = [
      "\(exampleCount) examples\(windows), \(tokenCount) tokens, the longest \(longest)"
        + (longestTarget > 0 ? " to read and \(longestTarget) to write" : "")
        + (asksRows
          ? "" : "; \(targetCount) count towards the loss (\(share / 10).\(share % 10) %)")
    ]
    func add(_ count: Int, _ text: String, _ place: RecordLocation? = nil) {
      guard count > 0 else { return }
      lines.append("\(count) \(text)" + (place.map { ", first \($0)" } ?? ""))
    }
    add(truncatedCount, "shortened to the longest length", firstTruncated)
    add(droppedCount, "left out, as nothing in them counts towards the loss", firstDropped)
    add(boundaryCount, "with tokens that merge prompt and answer, encoded apart")
    add(
      endlessCount, "whose answer has no end-of-text token: the model does not learn to stop",
      firstEndless)
    add(
      doubledBeginningCount, "with two beginning-of-text tokens: data and template both write one",
      firstDoubledBeginning)
    let keys = ignoredKeys.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
    for (key, count) in keys { add(count, "with the key \"\(key)\", which is not used") }
    return lines.joined(separator: "\n")
  }
}
