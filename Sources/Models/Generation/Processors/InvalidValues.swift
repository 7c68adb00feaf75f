public import Tensors

/// Replaces what is not a number by zero, and infinities by the largest numbers of their sign.
public struct InvalidValues: LogitsProcessor {
  /// Makes the rule.
  public init() {}

  /// Makes all scores finite.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor {
    let largest = -scores.dtype.lowestFinite
    return scores.filled(where: (scores .== scores).negated(), 0)
      .filled(where: scores .== .infinity, largest)
      .filled(where: scores .== -.infinity, -largest)
  }
}
