public import Tensors

/// Makes tokens that a row has less likely: positive scores are divided, negative ones multiplied.
///
/// A token counts once, however often it is there; padding on the left does not count.
public struct RepetitionPenalty: LogitsProcessor {
  private let penalty: Double
  private let starts: Tensor  // [rows, 1]

  /// Makes the rule.
  ///
  /// - Parameters:
  ///   - penalty: Above 1 against repetition, below 1 for it; positive.
  ///   - context: The rows.
  public init(_ penalty: Double, _ context: ProcessorContext) {
    self.penalty = penalty
    starts = Tensor(context.padding, shape: [context.padding.count, 1]).to(device: context.device)
  }

  /// Changes the scores of tokens that are there.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor {
    let positions = Tensor.arange(0, ids.size(1), device: ids.device).unsqueezed(0)
    let outside = Double(scores.size(1))
    let counted = ids.filled(where: positions .< starts, outside)
    return penalized(scores, at: seen(counted, vocabularySize: scores.size(1)), penalty)
  }
}

/// Makes tokens that the encoder read more likely, which keeps the answer to its source.
public struct EncoderRepetitionPenalty: LogitsProcessor {
  private let factor: Double
  private let encoderIDs: Tensor

  /// Makes the rule.
  ///
  /// - Parameters:
  ///   - penalty: Above 1 for tokens of the source, below 1 against them; positive.
  ///   - encoderIDs: int64 `[prompts, length]`.
  public init(_ penalty: Double, _ encoderIDs: Tensor) {
    factor = 1 / penalty
    self.encoderIDs = encoderIDs
  }

  /// Changes the scores of tokens of the source.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor {
    let copies = scores.size(0) / encoderIDs.size(0)
    let read = copies > 1 ? encoderIDs.repeatedInterleaved(copies, dimension: 0) : encoderIDs
    return penalized(scores, at: seen(read, vocabularySize: scores.size(1)), factor)
  }
}

/// Which tokens are among ids, bool `[rows, vocabulary]`; ids outside the vocabulary are none.
func seen(_ ids: Tensor, vocabularySize: Int) -> Tensor {
  let (rows, device) = (ids.size(0), ids.device)
  // One more column takes what is not a token.
  let found = Tensor.zeros([rows, vocabularySize + 1], dtype: .bool, device: device)
  let places = ids.clamped(upper: Double(vocabularySize)).to(.int64)
  return found.scattering(1, places, Tensor.ones(ids.shape, dtype: .bool, device: device))
    .narrowed(1, 0..<vocabularySize)
}

private func penalized(_ scores: Tensor, at mask: Tensor, _ penalty: Double) -> Tensor {
  let changed = Tensor.choosing(scores .< 0, scores * penalty, scores / penalty)
  return Tensor.choosing(mask, changed, scores)
}
