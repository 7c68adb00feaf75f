public import Tensors

/// Forbids tokens that would complete n tokens in a row that were there before.
public struct NoRepeatNGram: LogitsProcessor {
  private let size: Int
  private let encoderIDs: Tensor?

  /// Makes the rule.
  ///
  /// - Parameters:
  ///   - size: How many tokens in a row may occur once only; positive.
  ///   - encoderIDs: int64 `[prompts, length]` that may not be repeated; nil for the row itself.
  public init(_ size: Int, of encoderIDs: Tensor? = nil) {
    self.size = size
    self.encoderIDs = encoderIDs
  }

  /// Puts minus infinity at forbidden tokens.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor {
    let length = ids.size(1)
    var source = encoderIDs ?? ids
    guard length >= size - 1, source.size(1) >= size else { return scores }
    let copies = scores.size(0) / source.size(0)
    if copies > 1 { source = source.repeatedInterleaved(copies, dimension: 0) }
    // A window of the source counts where it begins as the row ends.
    let windows = source.size(1) - size + 1
    var differs = Tensor.zeros([scores.size(0), windows], dtype: .bool, device: ids.device)
    for offset in 0..<size - 1 {
      let place = length - size + 1 + offset
      let same =
        source.narrowed(1, offset..<offset + windows) .== ids.narrowed(1, place..<place + 1)
      differs = differs .| same.negated()
    }
    let completing = source.narrowed(1, size - 1..<size - 1 + windows)
      .filled(where: differs, Double(scores.size(1)))
    return scores.filled(where: seen(completing, vocabularySize: scores.size(1)), -.infinity)
  }
}
