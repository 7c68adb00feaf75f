import Checkpoints
import Layers
import Quantization
import Tensors

/// Builds a decoder over the weights of a checkpoint.
struct DecoderLoader {
  let configuration: DecoderConfiguration
  let checkpoint: SafetensorsCheckpoint
  let dtype: DType?
  let device: Device
  /// What is done to linear layers that the checkpoint holds dense.
  let quantization: QuantizationOptions?
  private let stored: QuantizedWeightReader
  /// "model." or, for a checkpoint saved from the bare decoder, nothing.
  let prefix: String

  init(
    configuration: DecoderConfiguration, checkpoint: SafetensorsCheckpoint, dtype: DType?,
    device: Device, quantization: QuantizationOptions?, stored: BitsAndBytesConfiguration?
  ) {
    self.configuration = configuration
    self.checkpoint = checkpoint
    self.dtype = dtype
    self.device = device
    self.quantization = quantization
    self.stored = QuantizedWeightReader(
      checkpoint: checkpoint, configuration: stored, device: device)
    prefix = checkpoint.entry("model.embed_tokens.weight") == nil ? "" : "model."
  }

  func causalLM() throws -> DecoderForCausalLM {
    let c = configuration
    let (embeddings, head) = try embeddingAndHead(shape: [c.vocabularySize, c.hiddenSize])
    let layers = try (0..<c.layerCount).map { try layer($0) }
    let model = DecoderModel(
      configuration: c, embedding: embeddings, layers: layers,
      norm: try norm(prefix + "norm", size: c.hiddenSize))
    return DecoderForCausalLM(model: model, head: head)
  }

  /// One parameter when tied; a checkpoint that holds only one of the two serves both.
  private func embeddingAndHead(shape: [Int]) throws -> (Embedding, Linear) {
    let (embeddingName, headName) = (prefix + "embed_tokens.weight", "lm_head.weight")
    guard configuration.tiesEmbeddings else {
      return (
        try embedding(Parameter(try tensor(embeddingName, shape))),
        try linear("lm_head", shape[0], shape[1], bias: false)
      )
    }
    let hasEmbedding = checkpoint.entry(embeddingName) != nil
    let shared = Parameter(try tensor(hasEmbedding ? embeddingName : headName, shape))
    if let quantized = try storedProjection("lm_head", shape: shape) {
      return (try embedding(shared), Linear(quantized))
    }
    var head = shared
    if checkpoint.entry(headName) != nil, hasEmbedding {
      // Both are there: as the reference does, they are tied only if they are equal.
      let own = try tensor(headName, shape)
      if !own.isEqual(to: shared.value) { head = Parameter(own) }
    }
    return (try embedding(shared), Linear(DenseProjection(weight: head)))
  }

  private func embedding(_ weight: Parameter) throws -> Embedding {
    guard let quantization, quantization.quantizesEmbeddings else {
      return Embedding(weight: weight)
    }
    guard !configuration.tiesEmbeddings else {
      throw ModelError.unsupported(
        path: checkpoint.directory,
        what: "quantising the embeddings of a model whose output head is the same table (it stays "
          + "as it is, so that a second table would take more memory)",
        supported: ["models with tie_word_embeddings false"])
    }
    return Embedding(quantization.format.table(weight.value))
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
    let shape = [output, input]
    let bias = bias ? Parameter(try tensor(name + ".bias", [output])) : nil
    if let found = try storedProjection(name, shape: shape, bias: bias) { return Linear(found) }
    let weight = try tensor(name + ".weight", shape)
    // What a quantised checkpoint holds dense stays so.
    if stored.configuration == nil, let quantization, !quantization.skips(name) {
      let made = Linear(quantization.format.projection(weight, bias: bias))
      // The dense weight is not needed again: its pages need not stay in memory.
      if let (file, entry) = checkpoint.entry(name + ".weight") {
        file.mapping.release(entry.byteRange)
      }
      return made
    }
    return Linear(DenseProjection(weight: Parameter(weight), bias: bias))
  }

  /// A projection whose weight the checkpoint holds quantised, or nil.
  private func storedProjection(
    _ name: String, shape: [Int], bias: Parameter? = nil
  ) throws -> (any LinearProjection)? {
    let found = try stored.projection(
      name, shape: shape, bias: bias, dtype: dtype ?? configuration.storedDType)
    if let found, let quantization {
      let format = WeightFormat(of: found)
      guard format == quantization.format else {
        throw QuantizationError.alreadyQuantized(
          path: checkpoint.directory, format: format?.description ?? "?",
          wanted: quantization.format.description)
      }
    }
    return found
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
    guard found.dtype.isFloatingPoint else {
      throw ModelError.wrongType(
        path: checkpoint.directory, name: name, actual: "\(found.dtype)")
    }
    return (dtype.map { found.to($0) } ?? found).to(device: device)
  }
}
