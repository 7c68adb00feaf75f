public import Tensors

/// Keeps the smallest set of best tokens that have a joint probability.
public struct TopP: LogitsProcessor {
  private let share: Double
  private let kept: Int

  /// Makes the rule.
  ///
  /// - Parameters:
  ///   - share: The joint probability, from 0 to 1.
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
    let (ordered, places) = scores.sorted()
    let removed = ordered.softmax().cumulativeSum() .<= (1 - share)
    removed.narrowed(1, max(0, size - kept)..<size).fillInPlace(0)
    return scores.filled(where: removed.scattering(1, places, removed), -.infinity)
  }
}
