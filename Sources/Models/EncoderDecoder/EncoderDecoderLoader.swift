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

  /// What stands around the blocks of a stack.
  private struct Ends {
    let positions: Embedding?
    let embeddingNorm: (any Normalization)?
    /// Numbers for distances, which the first block has and all read.
    let relativeBias: Embedding?
    let finalNorm: (any Normalization)?
  }

  let configuration: EncoderDecoderConfiguration
  let weights: ModelWeights
  /// Takes each block's numbers when it is made; nil for leaving them where they are.
  private let residency: BlockResidency?
  /// Dropout of the whole model.
  private let dropout = ModelDropout()
  /// What the last layers of MLPs are made of.
  private let downWeights: ModelWeights

  init(
    configuration: EncoderDecoderConfiguration, checkpoint: SafetensorsCheckpoint?, dtype: DType?,
    device: Device, quantization: QuantizationOptions?, stored: BitsAndBytesConfiguration?,
    residency: BlockResidency? = nil
  ) {
    self.configuration = configuration
    self.residency = residency
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
    let encoder = try ends("encoder", configuration.encoder)
    let decoder = hasDecoder ? try ends("decoder", configuration.decoder) : nil
    // The encoder's last norm is read where the decoder's pass begins.
    let entry: [(any Module)?] = [
      tables.shared, tables.encoder, tables.decoder, encoder.positions, encoder.embeddingNorm,
      encoder.relativeBias, encoder.finalNorm, decoder?.positions, decoder?.embeddingNorm,
      decoder?.relativeBias,
    ]
    let exit: [(any Module)?] = [decoder?.finalNorm, tables.head]
    try residency?.takeOutside(entry: entry.compactMap { $0 }, exit: exit.compactMap { $0 })
    let model = EncoderDecoderModel(
      configuration, shared: tables.shared,
      encoder: try stack("encoder", tables.encoder, configuration.encoder, encoder),
      decoder: try decoder.map {
        try stack("decoder", tables.decoder, configuration.decoder, $0)
      }, name: name)
    model.residency = residency
    return model
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

  private func ends(
    _ name: String, _ sizes: EncoderDecoderConfiguration.Stack
  ) throws -> Ends {
    let (c, names) = (configuration, configuration.names)
    let path = "\(weights.prefix)\(name)."
    var bias: Embedding?
    if case .relative(let classes) = c.positions, let table = names.relativeBias {
      let block = name == "decoder" ? names.decoderBlock : names.encoderBlock
      bias = Embedding(
        weight: Parameter(
          try weights.tensor(
            "\(path)\(names.layers).0.\(block.selfAttention).\(table).weight",
            [classes.bucketCount, sizes.headCount])))
    }
    var positions: Embedding?
    if case .learned(let count, let unused) = c.positions, let table = names.positions {
      positions = Embedding(
        weight: Parameter(
          try weights.tensor("\(path)\(table).weight", [count + unused, c.hiddenSize])))
    }
    return Ends(
      positions: positions, embeddingNorm: try names.embeddingNorm.map { try norm(path + $0) },
      relativeBias: bias, finalNorm: try names.finalNorm.map { try norm(path + $0) })
  }

  private func stack(
    _ name: String, _ tokens: Embedding, _ sizes: EncoderDecoderConfiguration.Stack, _ ends: Ends
  ) throws -> EncoderDecoderStack {
    let isDecoder = name == "decoder"
    let path = "\(weights.prefix)\(name).\(configuration.names.layers)."
    let first = isDecoder ? configuration.encoder.layerCount : 0
    let layers = try (0..<sizes.layerCount).map { index in
      let layer = try layer(
        "\(path)\(index).", sizes, isDecoder: isDecoder,
        relativeBias: index == 0 ? ends.relativeBias : nil)
      // Before the next one is made: a base that is converted or quantised never exists as a whole.
      try residency?.take(layer, as: first + index)
      return layer
    }
    return EncoderDecoderStack(
      tokens: tokens, positions: ends.positions, embeddingNorm: ends.embeddingNorm,
      layers: layers, finalNorm: ends.finalNorm, isDecoder: isDecoder, dropout: dropout,
      configuration)
  }

  private func layer(
    _ path: String, _ sizes: EncoderDecoderConfiguration.Stack, isDecoder: Bool,
    relativeBias: Embedding?
  ) throws -> EncoderDecoderLayer {
    let (c, names) = (configuration, configuration.names)
    let block = isDecoder ? names.decoderBlock : names.encoderBlock
    var cross: EncoderDecoderLayer.Cross?
    if isDecoder, let attention = block.crossAttention, let norm = block.crossNorm {
      cross = EncoderDecoderLayer.Cross(
        attention: try self.attention(path + attention + ".", sizes),
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
      try attention(path + block.selfAttention + ".", sizes, relativeBias: relativeBias),
      selfNorm: try norm(path + block.selfNorm), cross: cross, mlp: mlp,
      mlpNorm: try norm(path + block.mlpNorm), dropout: dropout, c)
  }

  private func attention(
    _ path: String, _ sizes: EncoderDecoderConfiguration.Stack, relativeBias: Embedding? = nil
  ) throws -> EncoderDecoderAttention {
    let (c, names) = (configuration, configuration.names)
    let width = sizes.headCount * sizes.headSize
    func inward(_ name: String) throws -> Linear {
      try weights.linear(path + name, [width, c.hiddenSize], hasBias: c.hasBias)
    }
    return EncoderDecoderAttention(
      query: try inward(names.query), key: try inward(names.key), value: try inward(names.value),
      output: try weights.linear(path + names.output, [c.hiddenSize, width], hasBias: c.hasBias),
      relativeBias: relativeBias, headSize: sizes.headSize, c)
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
