public import Datasets

/// Finds the best answers in windows of texts by the scores of their positions.
///
/// Of each window the best first positions and the best last ones are paired; the pair with the highest
/// sum of scores wins, over all windows of a text. Nothing is answered where that is allowed and the
/// first position of the windows has a higher sum.
///
/// Source: the post-processing of transformers' example `run_qa`.
public struct AnswerSearch: Sendable {
  /// First and last positions that are paired.
  public var candidates = 20
  /// Most tokens of an answer.
  public var longest = 30
  /// Whether a question may have no answer.
  public var allowsNone = false

  /// Makes a search with the usual limits.
  public init() {}

  /// Answers.
  ///
  /// - Parameters:
  ///   - windows: Windows in the order of their records.
  ///   - starts: Scores of each window's positions as first ones.
  ///   - ends: As last ones.
  ///   - contexts: The text of each record.
  /// - Returns: One answer for each text, empty for none.
  public func answers(
    _ windows: [QuestionAnsweringEncoder.Window], starts: [[Float]], ends: [[Float]],
    contexts: [String]
  ) -> [String] {
    var best = [(score: Float, span: Range<Int>)?](repeating: nil, count: contexts.count)
    var none = [Float](repeating: .infinity, count: contexts.count)
    for (number, window) in windows.enumerated() {
      let (start, end) = (starts[number], ends[number])
      none[window.record] = min(none[window.record], start[0] + end[0])
      let lasts = Self.highest(candidates, of: end)
      for first in Self.highest(candidates, of: start) {
        guard let from = window.spans[first] else { continue }
        for last in lasts where last >= first && last - first < longest {
          guard let to = window.spans[last] else { continue }
          let score = start[first] + end[last]
          if score > best[window.record]?.score ?? -.infinity {
            best[window.record] = (score, from.lowerBound..<max(from.lowerBound, to.upperBound))
          }
        }
      }
    }
    return zip(zip(best, none), contexts).map { found, context in
      guard let answer = found.0, !allowsNone || found.1 <= answer.score else { return "" }
      let scalars = Array(context.unicodeScalars)
      return String(
        String.UnicodeScalarView(scalars[answer.span.clamped(to: 0..<scalars.count)]))
    }
  }

  /// Positions of the highest scores, the highest first.
  private static func highest(_ count: Int, of scores: [Float]) -> [Int] {
    Array(
      scores.indices.sorted { scores[$0] == scores[$1] ? $0 > $1 : scores[$0] > scores[$1] }
        .prefix(count))
  }
}
