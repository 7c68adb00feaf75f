public import Tensors

/// Makes tokens that were written less likely, the more often they were.
///
/// A score becomes score - frequency * count - presence * (count > 0), where count is how often the
/// token was written; the prompt does not count. This is what OpenAI's interface and its imitators
/// mean by these names; transformers has no such rule.
public struct FrequencyPenalty: LogitsProcessor {
  private let frequency: Double
  private let presence: Double
  private let promptLength: Int

  /// Makes the rule.
  ///
  /// - Parameters:
  ///   - frequency: What each time costs.
  ///   - presence: What the first time costs.
  ///   - promptLength: Tokens of a row that were there before generation, padding included.
  public init(frequency: Double, presence: Double, promptLength: Int) {
    self.frequency = frequency
    self.presence = presence
    self.promptLength = promptLength
  }

  /// Changes the scores of tokens that were written.
  ///
  /// - Parameters:
  ///   - scores: float32 `[rows, vocabulary]`.
  ///   - ids: int64 `[rows, length]`.
  /// - Returns: float32 `[rows, vocabulary]`.
  public func callAsFunction(_ scores: Tensor, after ids: Tensor) -> Tensor {
    guard ids.size(1) > promptLength else { return scores }
    let written = ids.narrowed(1, promptLength..<ids.size(1))
    let ones = Tensor.ones(written.shape, dtype: scores.dtype, device: scores.device)
    let counts = scores.zerosLike().scatterAdding(1, written, ones)
    return scores - counts * frequency - (counts .> 0).to(scores.dtype) * presence
  }
}
