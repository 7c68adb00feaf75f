import Checkpoints
import Layers
import Tensors

/// Builds a decoder over the weights of a checkpoint.
struct DecoderLoader {
  let configuration: DecoderConfiguration
  let checkpoint: SafetensorsCheckpoint
  let dtype: DType?
  let device: Device
  /// "model." or, for a checkpoint saved from the bare decoder, nothing.
  let prefix: String

  init(
    configuration: DecoderConfiguration, checkpoint: SafetensorsCheckpoint, dtype: DType?,
    device: Device
  ) {
    self.configuration = configuration
    self.checkpoint = checkpoint
    self.dtype = dtype
    self.device = device
    prefix = checkpoint.entry("model.embed_tokens.weight") == nil ? "" : "model."
  }

  func causalLM() throws -> DecoderForCausalLM {
    let c = configuration
    let table = [c.vocabularySize, c.hiddenSize]
    let (embeddings, head) = try embeddingAndHead(shape: table)
    let layers = try (0..<c.layerCount).map { try layer($0) }
    let model = DecoderModel(
      configuration: c, embedding: Embedding(weight: embeddings), layers: layers,
      norm: try norm(prefix + "norm", size: c.hiddenSize))
    return DecoderForCausalLM(model: model, head: Linear(DenseProjection(weight: head)))
  }

  /// One parameter when tied; a checkpoint that holds only one of the two serves both.
  private func embeddingAndHead(shape: [Int]) throws -> (Parameter, Parameter) {
    let (embeddingName, headName) = (prefix + "embed_tokens.weight", "lm_head.weight")
    let hasHead = checkpoint.entry(headName) != nil
    if configuration.tiesEmbeddings {
      let hasEmbedding = checkpoint.entry(embeddingName) != nil
      let shared = Parameter(try tensor(hasEmbedding ? embeddingName : headName, shape))
      guard hasHead, hasEmbedding else { return (shared, shared) }
      // Both are there: as the reference does, they are tied only if they are equal.
      let head = try tensor(headName, shape)
      return head.isEqual(to: shared.value) ? (shared, shared) : (shared, Parameter(head))
    }
    return (
      Parameter(try tensor(embeddingName, shape)), Parameter(try tensor(headName, shape))
    )
  }

  private func layer(_ index: Int) throws -> DecoderLayer {
    let c = configuration
    let path = "\(prefix)layers.\(index)."
    let queryWidth = c.headCount * c.headSize
    let keyWidth = c.keyValueHeadCount * c.headSize
    func attention(_ name: String, _ output: Int, _ input: Int, _ bias: Bool) throws -> Linear {
      try linear(path + "self_attn." + name, output, input, bias: bias)
    }
    let bias = c.hasQueryKeyValueBias
    return DecoderLayer(
      attention: DecoderAttention(
        query: try attention("q_proj", queryWidth, c.hiddenSize, bias),
        key: try attention("k_proj", keyWidth, c.hiddenSize, bias),
        value: try attention("v_proj", keyWidth, c.hiddenSize, bias),
        output: try attention("o_proj", c.hiddenSize, queryWidth, c.hasOutputBias),
        queryNorm: c.hasQueryKeyNorm
          ? try norm(path + "self_attn.q_norm", size: c.headSize) : nil,
        keyNorm: c.hasQueryKeyNorm ? try norm(path + "self_attn.k_norm", size: c.headSize) : nil,
        headSize: c.headSize),
      mlp: GatedMLP(
        gate: try linear(
          path + "mlp.gate_proj", c.intermediateSize, c.hiddenSize, bias: c.hasMLPBias),
        up: try linear(path + "mlp.up_proj", c.intermediateSize, c.hiddenSize, bias: c.hasMLPBias),
        down: try linear(
          path + "mlp.down_proj", c.hiddenSize, c.intermediateSize, bias: c.hasMLPBias)),
      attentionNorm: try norm(path + "input_layernorm", size: c.hiddenSize),
      mlpNorm: try norm(path + "post_attention_layernorm", size: c.hiddenSize))
  }

  private func linear(_ name: String, _ output: Int, _ input: Int, bias: Bool) throws -> Linear {
    Linear(
      weight: try tensor(name + ".weight", [output, input]),
      bias: bias ? try tensor(name + ".bias", [output]) : nil)
  }

  private func norm(_ name: String, size: Int) throws -> RMSNorm {
    RMSNorm(
      weight: Parameter(try tensor(name + ".weight", [size])), epsilon: configuration.normEpsilon)
  }

  private func tensor(_ name: String, _ shape: [Int]) throws -> Tensor {
    guard let found = try checkpoint.tensor(name) else {
      throw ModelError.missingTensor(path: checkpoint.directory, name: name)
    }
    guard found.shape == shape else {
      throw ModelError.wrongShape(
        path: checkpoint.directory, name: name, expected: shape, actual: found.shape)
    }
    return (dtype.map { found.to($0) } ?? found).to(device: device)
  }
}
