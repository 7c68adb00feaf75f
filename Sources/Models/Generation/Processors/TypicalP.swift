public import Tensors

/// Keeps the smallest set of tokens with a joint probability whose surprise is nearest to the mean.
///
/// The surprise of a token is -log p, its mean the entropy.
///
/// Source: Meister et al. 2022, arXiv 2202.00666.
public struct TypicalP: LogitsProcessor {
  private let share: Double
  private let kept: Int

  /// Makes the rule.
  ///
  /// - Parameters:
  ///   - share: The joint probability, between 0 and 1.
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
    let size = scores.size(-1)
    let logarithms = scores.logSoftmax()
    // Forbidden tokens give 0 times infinity, which counts as nothing.
    let entropy = -(logarithms * logarithms.exponential())
      .sumOfNumbers([-1], keepDimensions: true)
    let (distances, places) = ((-logarithms) - entropy).absolute().sorted()
    let cumulative = scores.gathered(-1, places).softmax().cumulativeSum()
    let last = (cumulative .< share).sum([1], keepDimensions: true)
      .clamped(upper: Double(size - 1)).to(.int64)
    let removed = distances.gathered(1, last) .< distances
    removed.narrowed(1, 0..<min(kept, size)).fillInPlace(0)
    return scores.filled(where: removed.scattering(1, places, removed), -.infinity)
  }
}
