import Checkpoints
import Layers
import Quantization
import Tensors

/// Builds a decoder over the weights of a checkpoint.
struct DecoderLoader {
  let configuration: DecoderConfiguration
  let weights: ModelWeights
  /// Takes each block's numbers when it is made; nil for leaving them where they are.
  var residency: BlockResidency?

  init(
    configuration: DecoderConfiguration, checkpoint: SafetensorsCheckpoint?, dtype: DType?,
    device: Device, quantization: QuantizationOptions?, stored: BitsAndBytesConfiguration?,
    residency: BlockResidency? = nil
  ) {
    self.configuration = configuration
    self.residency = residency
    weights = ModelWeights(
      checkpoint: checkpoint, dtype: dtype, device: device, quantization: quantization,
      stored: stored, storedDType: configuration.storedDType,
      bases: DecoderHeads.baseNames(configuration),
      probe: configuration.names.embedding + ".weight")
  }

  func causalLM() throws -> DecoderForCausalLM {
    let c = configuration
    let (embedding, head) = try weights.embeddingAndHead(
      weights.prefix + c.names.embedding, "lm_head", shape: [c.vocabularySize, c.hiddenSize],
      isTied: c.tiesEmbeddings,
      bias: c.hasHeadBias
        ? Parameter(try weights.tensor("lm_head.bias", [c.vocabularySize])) : nil)
    let model = DecoderForCausalLM(model: try model(embedding, head: head), head: head)
    try weights.checkNothingIsLeft(of: model, base: c.names.decoder)
    return model
  }

  /// The decoder without a head.
  func model() throws -> DecoderModel {
    try model(
      try weights.embedding(
        weights.prefix + configuration.names.embedding,
        shape: [configuration.vocabularySize, configuration.hiddenSize]))
  }

  private func model(_ embedding: Embedding, head: Linear? = nil) throws -> DecoderModel {
    let (c, names) = (configuration, configuration.names)
    let prefix = weights.prefix
    let positions = try names.positions.map {
      Embedding(
        weight: Parameter(
          try weights.tensor("\(prefix)\($0).weight", [c.maximumLength, c.hiddenSize])))
    }
    let finalNorm = try norm(prefix + names.finalNorm, size: c.hiddenSize)
    // Large tables come first, so that they need not stay in memory while blocks are made.
    try residency?.takeOutside(
      entry: [embedding] + (positions.map { [$0] } ?? []),
      exit: [finalNorm] + (head.map { [$0] } ?? []))
    let assembly = DecoderAssembly(configuration: c, linear: linear, norm: norm)
    let layers = try (0..<c.layerCount).map { index in
      let layer = try assembly.layer("\(prefix)\(names.layers).\(index).")
      // Before the next one is made: a base that is converted or quantised never exists as a whole.
      try residency?.take(layer, as: index)
      return layer
    }
    let model = DecoderModel(
      configuration: c, embedding: embedding, positions: positions, layers: layers,
      norm: finalNorm)
    model.residency = residency
    return model
  }

  private func linear(_ name: String, _ shape: [Int], _ hasBias: Bool) throws -> Linear {
    try weights.linear(
      name, shape, hasBias: hasBias, isTransposed: configuration.storesTransposed)
  }

  private func norm(_ name: String, size: Int) throws -> any Normalization {
    let epsilon = configuration.normEpsilon
    switch configuration.normalization {
    case .layer: return try weights.layerNorm(name, size: size, epsilon: epsilon)
    case .rootMeanSquare(let weighting):
      return try weights.rmsNorm(name, size: size, epsilon: epsilon, weighting: weighting)
    }
  }
}
