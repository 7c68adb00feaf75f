public import Layers
public import Tensors

/// A Llama-like decoder that predicts the next token.
public final class DecoderForCausalLM: Module {
  /// The decoder.
  public let model: DecoderModel
  /// The output head; shares its weight with the embeddings when they are tied.
  public let head: Linear

  init(model: DecoderModel, head: Linear) {
    self.model = model
    self.head = head
  }

  /// Shape and switches.
  public var configuration: DecoderConfiguration { model.configuration }

  /// Where the weights live.
  public var device: Device { model.embedding.device }

  /// `model` and `lm_head`.
  public var children: [(name: String, module: any Module)] {
    [("model", model), ("lm_head", head)]
  }

  /// Scores of the next token at every position.
  ///
  /// - Parameters:
  ///   - batch: Ids, positions and masks.
  ///   - cache: Keys and values of earlier positions; extended by this call.
  /// - Returns: `[batch, length, vocabulary]`.
  public func logits(_ batch: DecoderInput, cache: KeyValueCache? = nil) -> Tensor {
    head(model(batch, cache: cache))
  }

  /// Summed cross entropy of the labels, each predicted from the positions before it.
  ///
  /// Where gradients are recorded, a companion's states may be asked for the same labels, with their
  /// share in the sum.
  ///
  /// - Parameters:
  ///   - batch: Ids, positions and masks.
  ///   - labels: int64 `[batch, length]`, not shifted; `ignoredLabel` where nothing is asked. The
  ///     first position of a row is never asked.
  /// - Returns: A scalar in float32. Divide by ``targetCount(of:)`` for the mean.
  public func summedLoss(_ batch: DecoderInput, labels: Tensor) -> Tensor {
    let states = model(batch)
    let own = crossEntropy(states.rows(), labels)
    guard isRecordingGradients, let more = model.companion?.takeSupervised() else { return own }
    return own + crossEntropy(more.states.to(states.dtype).rows(), labels) * more.weight
  }

  /// Summed cross entropy of rows of hidden states, each asked for the label behind it.
  private func crossEntropy(_ rows: Tensor, _ labels: Tensor) -> Tensor {
    // Position t is asked for the label at t + 1; the last one for nothing.
    let shifted = Tensor.concatenated(
      [
        labels.narrowed(1, 1..<labels.size(1)),
        Tensor.full(
          [labels.size(0), 1], Double(ignoredLabel), dtype: .int64, device: labels.device),
      ], dimension: 1
    ).reshaped([-1])
    if let dense = head.projection as? DenseProjection, dense.bias == nil {
      return linearCrossEntropy(rows, weight: dense.weight.value, labels: shifted)
    }
    let asked = (shifted .!= Double(ignoredLabel)).nonzeroIndices().reshaped([-1])
    let answers = shifted.selecting(0, asked).unsqueezed(1)
    let scores = head(rows.selecting(0, asked)).to(.float32)
    return (scores.logSumExp(-1, keepDimension: true) - scores.gathered(1, answers)).sum()
  }

  /// How many labels of a batch count.
  ///
  /// - Parameter labels: int64 `[batch, length]`, not shifted.
  /// - Returns: Labels that are not ignored and not the first of their row.
  public static func targetCount(of labels: Tensor) -> Int {
    Int((labels.narrowed(1, 1..<labels.size(1)) .!= Double(ignoredLabel)).sum().item())
  }
}
