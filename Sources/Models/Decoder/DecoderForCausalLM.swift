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

  /// Scores of the next token at every position of the batch.
  ///
  /// Those of virtual tokens are not among them, also where PEFT returns them (in front).
  ///
  /// - Parameters:
  ///   - batch: Ids, positions and masks.
  ///   - cache: Keys and values of earlier positions; extended by this call.
  /// - Returns: `[batch, length, vocabulary]`.
  public func logits(_ batch: DecoderInput, cache: KeyValueCache? = nil) -> Tensor {
    head(model(batch, cache: cache))
  }

  /// How many labels of a batch count.
  ///
  /// - Parameter labels: int64 `[batch, length]`, not shifted.
  /// - Returns: Labels that are not ignored and not the first of their row.
  public static func targetCount(of labels: Tensor) -> Int {
    Int((labels.narrowed(1, 1..<labels.size(1)) .!= Double(ignoredLabel)).sum().item())
  }
}
