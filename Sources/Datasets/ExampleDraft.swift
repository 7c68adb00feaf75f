/// An example on its way: its tokens and which of them are asked.
struct ExampleDraft: Equatable {
  var ids: [Int]
  /// Token ranges that the model has to write, ascending.
  var asked: [Range<Int>]
  /// Whether tokens would reach across a border, so that the parts were encoded alone.
  var mergesAcross: Bool
  /// Special tokens at the start that stay whatever is cut.
  var frameCount = 0

  /// Cuts the example to a length, so that the answer stays as long as it can.
  ///
  /// The prompt, which is everything before the first asked token, loses tokens from the left
  /// down to an eighth of the length (at least one: the first answer token is predicted from it);
  /// the rest is cut at its end.
  ///
  /// - Returns: What was cut, or nil when nothing was.
  mutating func truncate(to length: Int) -> TruncatedSpans? {
    guard ids.count > length else { return nil }
    let prompt = asked.first?.lowerBound ?? 0
    let reserve = min(prompt, max(1, length / 8))
    let answer = min(ids.count - prompt, length - reserve)
    let kept = length - answer
    let removed = prompt - kept
    let fixed = min(frameCount, max(kept - 1, 0))
    let cut = TruncatedSpans(prompt: fixed..<fixed + removed, end: prompt + answer..<ids.count)
    ids = Array(ids[..<fixed] + ids[(fixed + removed)..<(prompt + answer)])
    asked = asked.compactMap { range in
      let start = min(range.lowerBound - removed, length)
      let end = min(range.upperBound - removed, length)
      return start < end ? start..<end : nil
    }
    return cut
  }

  /// Ids and labels.
  func example(trainsOnPrompt: Bool) -> TokenizedExample {
    let ids = ids.map { Int32($0) }
    guard !trainsOnPrompt else { return TokenizedExample(ids: ids, labels: ids) }
    var labels = [Int32](repeating: ignoredLabelID, count: ids.count)
    for range in asked { labels.replaceSubrange(range, with: ids[range]) }
    return TokenizedExample(ids: ids, labels: labels)
  }
}
