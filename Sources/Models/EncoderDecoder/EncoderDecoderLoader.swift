import Checkpoints
import Layers
import Quantization
import Tensors

/// Builds a model with encoder and decoder over the weights of a checkpoint.
struct EncoderDecoderLoader {
  /// The table and the layers over it.
  struct Tables {
    let shared: Embedding
    let encoder: Embedding
    let decoder: Embedding
    let head: Linear?
  }

  let configuration: EncoderDecoderConfiguration
  let weights: ModelWeights
  /// Dropout of the whole model.
  private let dropout = ModelDropout()
  /// What the last layers of MLPs are made of.
  private let downWeights: ModelWeights

  init(
    configuration: EncoderDecoderConfiguration, checkpoint: SafetensorsCheckpoint?, dtype: DType?,
    device: Device, quantization: QuantizationOptions?, stored: BitsAndBytesConfiguration?
  ) {
    self.configuration = configuration
    let names = configuration.names
    let probe =
      "encoder.\(names.layers).0.\(names.encoderBlock.selfNorm).weight"
    weights = ModelWeights(
      checkpoint: checkpoint, dtype: dtype, device: device, quantization: quantization,
      stored: stored, storedDType: configuration.storedDType, bases: [names.model], probe: probe)
    let isNarrow = (dtype ?? configuration.storedDType) == .float16
    downWeights =
      configuration.keepsDownWide
      ? weights.dense(dtype: isNarrow ? .float32 : dtype) : weights
  }

  func conditionalGeneration() throws -> EncoderDecoderForConditionalGeneration {
    let c = configuration
    let tables = try tables(hasHead: true)
    guard let head = tables.head else {
      throw ModelError.missingTensor(path: weights.directory, name: "lm_head.weight")
    }
    let model = try model(tables, name: c.names.standsOpen ? "" : c.names.model)
    guard c.hasLogitsBias else {
      return EncoderDecoderForConditionalGeneration(
        model: model, head: head, logitsBias: nil, biasActs: false)
    }
    let (name, shape) = ("final_logits_bias", [1, c.vocabularySize])
    guard let stored = try weights.checkpoint?.tensor(name) else {
      let zeros = Tensor.zeros(
        shape, dtype: weights.dtype ?? c.storedDType ?? .float32, device: weights.device)
      return EncoderDecoderForConditionalGeneration(
        model: model, head: head, logitsBias: zeros, biasActs: false)
    }
    return EncoderDecoderForConditionalGeneration(
      model: model, head: head, logitsBias: try weights.tensor(name, shape),
      biasActs: (stored .!= 0).sum().item() > 0)
  }

  /// The model without a head.
  ///
  /// - Parameters:
  ///   - name: What it is called inside the model with one; empty for nothing.
  ///   - hasDecoder: Whether there is a decoder.
  /// - Returns: The model.
  /// - Throws: ``ModelError`` or `QuantizationError` when the checkpoint lacks a weight.
  func model(name: String, hasDecoder: Bool = true) throws -> EncoderDecoderModel {
    try model(try tables(hasHead: false), name: name, hasDecoder: hasDecoder)
  }

  private func model(
    _ tables: Tables, name: String, hasDecoder: Bool = true
  ) throws -> EncoderDecoderModel {
    EncoderDecoderModel(
      configuration, shared: tables.shared,
      encoder: try stack("encoder", tables.encoder, configuration.encoder),
      decoder: hasDecoder ? try stack("decoder", tables.decoder, configuration.decoder) : nil,
      name: name)
  }

  // Files hold the table once or several times, under any of its names. As the reference does, a copy
  // that differs from the first one found is a table of its own.
  private func tables(hasHead: Bool) throws -> Tables {
    let (c, prefix) = (configuration, weights.prefix)
    let shape = [c.vocabularySize, c.hiddenSize]
    let own = [
      prefix + c.names.shared, "\(prefix)encoder.\(c.names.tokens)",
      "\(prefix)decoder.\(c.names.tokens)",
    ]
    let sources = own + (hasHead && c.tiesEmbeddings ? ["lm_head"] : [])
    func isStored(_ name: String) -> Bool { weights.isStored(name + ".weight") }
    let first = sources.first(where: isStored) ?? own[0]
    let parameter = Parameter(try weights.tensor(first + ".weight", shape))
    let head = hasHead ? try head(parameter, first: first, shape) : nil
    let isTied = (head?.projection as? DenseProjection)?.weight === parameter
    let table = try weights.embedding(parameter, isTied: isTied)
    func embedding(_ name: String) throws -> Embedding {
      if name != first, isStored(name), try !holdsSame(name, first) {
        return try weights.embedding(
          Parameter(try weights.tensor(name + ".weight", shape)), isTied: false)
      }
      // Each layer has a table object of its own, which adapters exchange, over one parameter.
      return table.table is DenseTable ? Embedding(weight: parameter) : Embedding(table.table)
    }
    return Tables(
      shared: try embedding(own[0]), encoder: try embedding(own[1]), decoder: try embedding(own[2]),
      head: head)
  }

  private func head(_ shared: Parameter, first: String, _ shape: [Int]) throws -> Linear {
    let name = "lm_head"
    if configuration.tiesEmbeddings {
      if let found = try weights.storedProjection(name, shape: shape) { return Linear(found) }
      let isStored = first != name && weights.isStored(name + ".weight")
      if try !isStored || holdsSame(name, first) {
        return Linear(DenseProjection(weight: shared))
      }
    }
    return try weights.linear(name, shape)
  }

  /// Whether two weights of the checkpoint are the same numbers, wherever they are to live.
  private func holdsSame(_ name: String, _ other: String) throws -> Bool {
    guard let one = try weights.checkpoint?.tensor(name + ".weight"),
      let two = try weights.checkpoint?.tensor(other + ".weight")
    else { return false }
    return one.shape == two.shape && one.dtype == two.dtype && one.isEqual(to: two)
  }

  private func stack(
    _ name: String, _ tokens: Embedding, _ sizes: EncoderDecoderConfiguration.Stack
  ) throws -> EncoderDecoderStack {
    let (c, names) = (configuration, configuration.names)
    let path = "\(weights.prefix)\(name)."
    var positions: Embedding?
    if case .learned(let count, let unused) = c.positions, let table = names.positions {
      positions = Embedding(
        weight: Parameter(
          try weights.tensor("\(path)\(table).weight", [count + unused, c.hiddenSize])))
    }
    let isDecoder = name == "decoder"
    let layers = try (0..<sizes.layerCount).map {
      try layer("\(path)\(names.layers).\($0).", sizes, isDecoder: isDecoder, isFirst: $0 == 0)
    }
    return EncoderDecoderStack(
      tokens: tokens, positions: positions,
      embeddingNorm: try names.embeddingNorm.map { try norm(path + $0) }, layers: layers,
      finalNorm: try names.finalNorm.map { try norm(path + $0) }, isDecoder: isDecoder,
      dropout: dropout, c)
  }

  private func layer(
    _ path: String, _ sizes: EncoderDecoderConfiguration.Stack, isDecoder: Bool, isFirst: Bool
  ) throws -> EncoderDecoderLayer {
    let (c, names) = (configuration, configuration.names)
    let block = isDecoder ? names.decoderBlock : names.encoderBlock
    var cross: EncoderDecoderLayer.Cross?
    if isDecoder, let attention = block.crossAttention, let norm = block.crossNorm {
      cross = EncoderDecoderLayer.Cross(
        attention: try self.attention(path + attention + ".", sizes, hasBias: false),
        norm: try self.norm(path + norm))
    }
    func inward(_ name: String) throws -> Linear {
      try weights.linear(
        path + block.mlp + name, [sizes.intermediateSize, c.hiddenSize], hasBias: c.hasBias)
    }
    let mlp = EncoderDecoderLayer.MLP(
      gate: c.isGated ? try inward(names.gate) : nil,
      up: try inward(c.isGated ? names.gatedUp : names.up),
      down: try downWeights.linear(
        path + block.mlp + names.down, [c.hiddenSize, sizes.intermediateSize], hasBias: c.hasBias))
    return EncoderDecoderLayer(
      try attention(path + block.selfAttention + ".", sizes, hasBias: isFirst),
      selfNorm: try norm(path + block.selfNorm), cross: cross, mlp: mlp,
      mlpNorm: try norm(path + block.mlpNorm), dropout: dropout, c)
  }

  // `hasBias`: whether it is the one with numbers for distances, where there are such.
  private func attention(
    _ path: String, _ sizes: EncoderDecoderConfiguration.Stack, hasBias: Bool
  ) throws -> EncoderDecoderAttention {
    let (c, names) = (configuration, configuration.names)
    let width = sizes.headCount * sizes.headSize
    func inward(_ name: String) throws -> Linear {
      try weights.linear(path + name, [width, c.hiddenSize], hasBias: c.hasBias)
    }
    var bias: Embedding?
    if hasBias, case .relative(let classes) = c.positions, let table = names.relativeBias {
      bias = Embedding(
        weight: Parameter(
          try weights.tensor(
            "\(path)\(table).weight", [classes.bucketCount, sizes.headCount])))
    }
    return EncoderDecoderAttention(
      query: try inward(names.query), key: try inward(names.key), value: try inward(names.value),
      output: try weights.linear(path + names.output, [c.hiddenSize, width], hasBias: c.hasBias),
      relativeBias: bias, headSize: sizes.headSize, c)
  }

  private func norm(_ name: String) throws -> any Normalization {
    let (size, epsilon) = (configuration.hiddenSize, configuration.normEpsilon)
    switch configuration.normalization {
    case .layer: return try weights.layerNorm(name, size: size, epsilon: epsilon)
    case .rootMeanSquare(let weighting):
      return try weights.rmsNorm(name, size: size, epsilon: epsilon, weighting: weighting)
    }
  }
}
