public import Tensors

/// Keeps the k best tokens; those that are as good as the last of them stay too.
public struct TopK: LogitsProcessor {
  private let count: Int

  /// Makes the rule.
  ///
  /// - Parameters:
  ///   - count: How many, positive.
  ///   - kept: How many stay at least.
  public init(_ count: Int, keeping kept: Int = 1) { self.count = max(count, kept) }

  /// Puts minus infinity at the other tokens.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor {
    guard count < scores.size(-1) else { return scores }
    return scores.filled(where: scores .< leastOfBest(count, scores), -.infinity)
  }
}

/// The score of the last of the best tokens, `[rows, 1]`.
func leastOfBest(_ count: Int, _ scores: Tensor) -> Tensor {
  let count = min(count, scores.size(-1))
  return scores.largest(count).values.narrowed(-1, count - 1..<count)
}
