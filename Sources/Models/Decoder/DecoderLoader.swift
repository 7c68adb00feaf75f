import Checkpoints
import Layers
import Quantization
import Tensors

/// Builds a decoder over the weights of a checkpoint.
struct DecoderLoader {
  let configuration: DecoderConfiguration
  let weights: ModelWeights

  init(
    configuration: DecoderConfiguration, checkpoint: SafetensorsCheckpoint, dtype: DType?,
    device: Device, quantization: QuantizationOptions?, stored: BitsAndBytesConfiguration?
  ) {
    self.configuration = configuration
    weights = ModelWeights(
      checkpoint: checkpoint, dtype: dtype, device: device, quantization: quantization,
      stored: stored, storedDType: configuration.storedDType, base: configuration.names.decoder,
      probe: configuration.names.embedding + ".weight")
  }

  func causalLM() throws -> DecoderForCausalLM {
    let (c, names) = (configuration, configuration.names)
    let prefix = weights.prefix
    let (embedding, head) = try weights.embeddingAndHead(
      prefix + names.embedding, "lm_head", shape: [c.vocabularySize, c.hiddenSize],
      isTied: c.tiesEmbeddings, headHasBias: c.hasHeadBias)
    let positions = try names.positions.map {
      Embedding(
        weight: Parameter(
          try weights.tensor("\(prefix)\($0).weight", [c.maximumLength, c.hiddenSize])))
    }
    let assembly = DecoderAssembly(configuration: c, linear: linear, norm: norm)
    let layers = try (0..<c.layerCount).map {
      try assembly.layer("\(prefix)\(names.layers).\($0).")
    }
    let model = DecoderModel(
      configuration: c, embedding: embedding, positions: positions, layers: layers,
      norm: try norm(prefix + names.finalNorm, size: c.hiddenSize))
    return DecoderForCausalLM(model: model, head: head)
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
