public import Tensors

/// Keeps tokens whose probability is at least a share of the best one's.
public struct MinP: LogitsProcessor {
  private let share: Double
  private let kept: Int

  /// Makes the rule.
  ///
  /// - Parameters:
  ///   - share: Of the best probability, from 0 to 1.
  ///   - kept: How many stay at least.
  public init(_ share: Double, keeping kept: Int = 1) {
    self.share = share
    self.kept = kept
  }

  /// Puts minus infinity at the other tokens.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor {
    let probabilities = scores.softmax()
    let removed = probabilities .< (probabilities.max(-1, keepDimension: true) * share)
    let best = probabilities.largest(min(kept, scores.size(-1))).indices
    let none = Tensor.zeros(best.shape, dtype: .bool, device: best.device)
    return scores.filled(where: removed.scattering(1, best, none), -.infinity)
  }
}
