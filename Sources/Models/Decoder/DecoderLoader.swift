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
    let layers = try (0..<c.layerCount).map { try layer($0) }
    let model = DecoderModel(
      configuration: c, embedding: embedding, positions: positions, layers: layers,
      norm: try norm(prefix + names.finalNorm, size: c.hiddenSize))
    return DecoderForCausalLM(model: model, head: head)
  }

  private func layer(_ index: Int) throws -> DecoderLayer {
    let (c, names) = (configuration, configuration.names)
    let path = "\(weights.prefix)\(names.layers).\(index)."
    func norm(_ name: String?) throws -> (any Normalization)? {
      try name.map { try self.norm(path + $0, size: c.hiddenSize) }
    }
    return DecoderLayer(
      attention: try attention("\(path)\(names.attention)."), mlp: try mlp("\(path)\(names.mlp)."),
      norms: DecoderLayer.Norms(
        attention: try norm(names.attentionNorm),
        attentionOutput: try norm(names.attentionOutputNorm), mlp: try norm(names.mlpNorm),
        mlpOutput: try norm(names.mlpOutputNorm)), c)
  }

  private func attention(_ path: String) throws -> DecoderAttention {
    let (c, names) = (configuration, configuration.names)
    let width = c.headCount * c.headSize
    let keyWidth = c.keyValueHeadCount * c.headSize
    func projection(_ name: String, _ outputs: Int) throws -> Linear {
      try linear(path + name, [outputs, c.hiddenSize], c.hasQueryKeyValueBias)
    }
    func norm(_ name: String, _ width: Int) throws -> (any Normalization)? {
      switch c.queryKeyNorm {
      case .none: nil
      case .perHead: try self.norm(path + name, size: c.headSize)
      case .whole: try self.norm(path + name, size: width)
      }
    }
    let projections: AttentionProjections
    if let fused = names.fusedProjections {
      projections = .fused(try projection(fused, width + 2 * keyWidth))
    } else {
      projections = .separate(
        query: try projection(names.query, width), key: try projection(names.key, keyWidth),
        value: try projection(names.value, keyWidth))
    }
    return DecoderAttention(
      projections,
      output: try linear(path + names.attentionOutput, [c.hiddenSize, width], c.hasOutputBias),
      queryNorm: try norm(names.queryNorm, width), keyNorm: try norm(names.keyNorm, keyWidth), c)
  }

  private func mlp(_ path: String) throws -> DecoderMLP {
    let (c, names) = (configuration, configuration.names)
    func inward(_ name: String, times count: Int = 1) throws -> Linear {
      try linear(path + name, [count * c.intermediateSize, c.hiddenSize], c.hasMLPBias)
    }
    let inputs: DecoderMLP.Inputs
    if let fused = names.fusedGate {
      inputs = .fused(try inward(fused, times: 2))
    } else if let gate = names.gate {
      inputs = .gated(gate: try inward(gate), up: try inward(names.up))
    } else {
      inputs = .plain(try inward(names.up))
    }
    return DecoderMLP(
      inputs,
      down: try linear(path + names.down, [c.hiddenSize, c.intermediateSize], c.hasMLPBias),
      activation: c.activation, names: names)
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
