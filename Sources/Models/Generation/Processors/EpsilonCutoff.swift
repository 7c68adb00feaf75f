public import Tensors

/// Keeps tokens that have at least a probability.
///
/// Source: Hewitt et al. 2022, arXiv 2210.15191.
public struct EpsilonCutoff: LogitsProcessor {
  private let least: Double
  private let kept: Int

  /// Makes the rule.
  ///
  /// - Parameters:
  ///   - least: The probability, between 0 and 1.
  ///   - kept: How many stay at least.
  public init(_ least: Double, keeping kept: Int = 1) {
    self.least = least
    self.kept = kept
  }

  /// Puts minus infinity at the other tokens.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor {
    let removed = (scores.softmax() .< least) .& (scores .< leastOfBest(kept, scores))
    return scores.filled(where: removed, -.infinity)
  }
}
