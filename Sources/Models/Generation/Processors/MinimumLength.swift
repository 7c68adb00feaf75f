public import Tensors

/// Forbids tokens that end a text before it has a length.
public struct MinimumLength: LogitsProcessor {
  private let least: Int
  private let ends: Tensor

  /// Makes the rule.
  ///
  /// - Parameters:
  ///   - least: Length of a row, prompt and padding included.
  ///   - ends: bool `[vocabulary]`, true at tokens that end a text.
  public init(_ least: Int, _ ends: Tensor) {
    self.least = least
    self.ends = ends
  }

  /// Puts minus infinity at tokens that end a text.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor {
    ids.size(1) < least ? scores.filled(where: ends, -.infinity) : scores
  }
}
