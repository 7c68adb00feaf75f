public import Tensors

/// Makes scores logarithms of probabilities.
public struct LogNormalization: LogitsProcessor {
  /// Makes the rule.
  public init() {}

  /// Subtracts the logarithm of the sum of exponentials.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor { scores.logSoftmax() }
}
