/// Which tokens of an example were cut to bring it to its longest length.
public struct TruncatedSpans: Equatable, Sendable {
  /// Positions in the whole example that the prompt lost.
  public var prompt: Range<Int>
  /// Positions in the whole example that its end lost.
  public var end: Range<Int>

  /// Makes the spans.
  ///
  /// - Parameters:
  ///   - prompt: Positions in the whole example that the prompt lost.
  ///   - end: Positions in the whole example that its end lost.
  public init(prompt: Range<Int>, end: Range<Int>) {
    self.prompt = prompt
    self.end = end
  }

  /// Tokens that were cut.
  public var count: Int { prompt.count + end.count }

  func contains(_ position: Int) -> Bool {
    prompt.contains(position) || end.contains(position)
  }
}
