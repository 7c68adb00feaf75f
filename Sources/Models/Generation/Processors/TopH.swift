public import Tensors

/// Keeps best tokens until their part of the entropy exceeds a share of it.
///
/// Only the hundred best tokens are looked at, as if there were no others.
///
/// Source: Baghaei Potraghloo et al. 2025, arXiv 2509.02510.
public struct TopH: LogitsProcessor {
  private let share: Double
  private static let candidateCount = 100

  /// Makes the rule.
  ///
  /// - Parameter share: Of the entropy, above 0 and at most 1.
  public init(_ share: Double) { self.share = share }

  /// Puts minus infinity at the other tokens.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor {
    let (best, places) = scores.largest(min(Self.candidateCount, scores.size(-1)))
    let (entropy, probabilities) = tokenEntropy(best)
    let parts = -probabilities * probabilities.logarithm()
    let kept = parts.cumulativeSum() .<= (entropy * share)
    kept.narrowed(1, 0..<1).fillInPlace(1)
    let none = Tensor.zeros(scores.shape, dtype: .bool, device: scores.device)
    return scores.filled(where: none.scattering(1, places, kept).negated(), -.infinity)
  }
}

/// Entropy `[rows, 1]` and probabilities of scores, forbidden tokens not counted.
func tokenEntropy(_ scores: Tensor) -> (entropy: Tensor, probabilities: Tensor) {
  let normalized = scores - scores.logSumExp(-1, keepDimension: true)
  let probabilities = normalized.softmax()
  let finite = normalized.clamped(lower: scores.dtype.lowestFinite)
  return (-(finite * probabilities).sum([-1], keepDimensions: true), probabilities)
}
