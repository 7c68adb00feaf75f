public import Tensors

/// Divides scores: below 1 the best tokens become more likely, above 1 less.
public struct Temperature: LogitsProcessor {
  private let temperature: Double

  /// Makes the rule.
  ///
  /// - Parameter temperature: The divisor, positive.
  public init(_ temperature: Double) { self.temperature = temperature }

  /// Divides the scores.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`; with temperatures below a millionth the scores less the
  ///   best one are divided, so that no infinities come of it and the shares stay the same.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor {
    guard temperature < 1e-6 else { return scores / temperature }
    return (scores - scores.max(-1, keepDimension: true)) / temperature
  }
}
