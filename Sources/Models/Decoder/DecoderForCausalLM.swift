public import Layers
public import Tensors

/// A Llama-like decoder that predicts the next token.
public final class DecoderForCausalLM: Module {
  /// The decoder.
  public let model: DecoderModel
  /// The output head; shares its weight with the embeddings when they are tied.
  public let head: Linear
  /// What numbers the loss multiplies a dense head with where layers are fused.
  ///
  /// Sums are float32; scores by other ways are not touched.
  public var lossProducts = LossProducts.float32
  let keptWordCodes = KeptWordCodes()

  init(model: DecoderModel, head: Linear) {
    self.model = model
    self.head = head
  }

  /// Shape and switches.
  public var configuration: DecoderConfiguration { model.configuration }

  /// Where the weights live.
  public var device: Device { model.embedding.device }

  /// The decoder and its head, by their family's names.
  public var children: [(name: String, module: any Module)] {
    [(configuration.names.decoder, model), ("lm_head", head)]
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
    scores(model(batch, cache: cache))
  }

  /// Scores of all tokens behind hidden states.
  ///
  /// - Parameter hidden: `[..., hiddenSize]`, of the last norm.
  /// - Returns: `[..., vocabulary]`.
  func scores(_ hidden: Tensor) -> Tensor { adjusted(model.pass.exit { head(hidden) }) }

  /// The head's outputs as scores: divided and capped where the family has it so.
  func adjusted(_ outputs: Tensor) -> Tensor {
    var scores = outputs
    let divisor = configuration.logitsDivisor
    if divisor != 1 { scores = scores / divisor }
    return configuration.logitsSoftcap.map { (scores / $0).tanh() * $0 } ?? scores
  }

  /// How many labels of a batch count.
  ///
  /// - Parameter labels: int64 `[batch, length]`, not shifted.
  /// - Returns: Labels that are not ignored and not the first of their row.
  public static func targetCount(of labels: Tensor) -> Int {
    Int((labels.narrowed(1, 1..<labels.size(1)) .!= Double(ignoredLabel)).sum().item())
  }
}
