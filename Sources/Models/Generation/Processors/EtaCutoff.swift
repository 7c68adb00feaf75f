public import Tensors

/// Keeps tokens that have at least a probability, which is less where the entropy H is large.
///
/// It is min(epsilon, sqrt(epsilon) exp(-H)).
///
/// Source: Hewitt et al. 2022, arXiv 2210.15191.
public struct EtaCutoff: LogitsProcessor {
  private let epsilon: Double
  private let kept: Int

  /// Makes the rule.
  ///
  /// - Parameters:
  ///   - epsilon: Between 0 and 1.
  ///   - kept: How many stay at least.
  public init(_ epsilon: Double, keeping kept: Int = 1) {
    self.epsilon = epsilon
    self.kept = kept
  }

  /// Puts minus infinity at the other tokens.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor {
    let most = Tensor([Float(epsilon)]).to(scores.dtype).to(device: scores.device)
    let least = most.minimum(most.squareRoot() * (-tokenEntropy(scores).entropy).exponential())
    let removed = (scores.softmax() .< least) .& (scores .< leastOfBest(kept, scores))
    return scores.filled(where: removed, -.infinity)
  }
}
