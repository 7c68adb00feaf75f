public import Tensors

/// Forbids tokens.
public struct SuppressedTokens: LogitsProcessor {
  private let mask: Tensor
  private let length: Int?

  /// Makes the rule.
  ///
  /// - Parameters:
  ///   - mask: bool `[vocabulary]`, true at the tokens.
  ///   - length: Length of a row, prompt and padding included, behind which alone they are forbidden;
  ///     nil for always.
  public init(_ mask: Tensor, atLength length: Int? = nil) {
    self.mask = mask
    self.length = length
  }

  /// Puts minus infinity at the tokens.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor {
    length ?? ids.size(1) == ids.size(1) ? scores.filled(where: mask, -.infinity) : scores
  }
}
