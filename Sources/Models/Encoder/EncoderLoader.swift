import Layers
import Tensors

/// Builds an encoder over the weights of a checkpoint.
struct EncoderLoader {
  let configuration: EncoderConfiguration
  let weights: ModelWeights
  /// Takes each block's numbers when it is made; nil for leaving them where they are.
  var residency: BlockResidency?

  /// The encoder.
  ///
  /// - Parameters:
  ///   - tokens: Its embeddings; nil to read them.
  ///   - pooler: The layer on the first token's vector, or nil.
  ///   - head: A head that is not trained, or nil.
  /// - Returns: The encoder.
  /// - Throws: ``ModelError`` or `QuantizationError` when the checkpoint lacks a weight.
  func model(
    _ tokens: Embedding?, pooler: Linear?, head: TaskHead? = nil
  ) throws -> EncoderModel {
    let (c, names, prefix) = (configuration, configuration.names, weights.prefix)
    let embeddings = EncoderModel.Embeddings(
      tokens: try tokens
        ?? weights.embedding(prefix + names.tokens, shape: [c.vocabularySize, c.hiddenSize]),
      positions: try names.positions.map { try table(prefix + $0, rows: c.positionCount) },
      tokenTypes: try names.tokenTypes.map { try table(prefix + $0, rows: c.tokenTypeCount) },
      norm: try norm(prefix + names.embeddingNorm))
    let finalNorm = try names.finalNorm.map { try norm(prefix + $0) }
    let entry: [(any Module)?] = [
      embeddings.tokens, embeddings.positions, embeddings.tokenTypes, embeddings.norm,
    ]
    let exit: [(any Module)?] = [finalNorm, pooler, head?.dense, head?.norm, head?.output]
    try residency?.takeOutside(entry: entry.compactMap { $0 }, exit: exit.compactMap { $0 })
    let layers = try (0..<c.layerCount).map { index in
      let layer = try layer(index)
      try residency?.take(layer, as: index)
      return layer
    }
    let model = EncoderModel(
      c, embeddings, layers: layers, finalNorm: finalNorm, pooler: pooler)
    model.residency = residency
    return model
  }

  private func layer(_ index: Int) throws -> EncoderLayer {
    let (c, names) = (configuration, configuration.names)
    let path = "\(weights.prefix)\(names.layers).\(index)."
    func linear(_ name: String, _ outputs: Int, _ inputs: Int, _ hasBias: Bool) throws -> Linear {
      try weights.linear(path + name, [outputs, inputs], hasBias: hasBias)
    }
    func projection(_ name: String, times count: Int = 1) throws -> Linear {
      try linear(name, count * c.hiddenSize, c.hiddenSize, c.hasAttentionBias)
    }
    let projections: AttentionProjections
    if let fused = names.fusedProjections {
      projections = .fused(try projection(fused, times: 3))
    } else {
      projections = .separate(
        query: try projection(names.query), key: try projection(names.key),
        value: try projection(names.value))
    }
    // Where norms come first, the embeddings' own serves the first block's attention.
    let hasAttentionNorm = !c.normsFirst || index > 0
    return EncoderLayer(
      projections, output: try projection(names.attentionOutput),
      attentionNorm: hasAttentionNorm ? try norm(path + names.attentionNorm) : nil,
      up: try linear(
        names.up, (c.isGated ? 2 : 1) * c.intermediateSize, c.hiddenSize, c.hasMLPBias),
      down: try linear(names.down, c.hiddenSize, c.intermediateSize, c.hasMLPBias),
      mlpNorm: try norm(path + names.mlpNorm), c)
  }

  private func norm(_ name: String) throws -> LayerNorm {
    try weights.layerNorm(
      name, size: configuration.hiddenSize, epsilon: configuration.normEpsilon,
      hasBias: configuration.hasNormBias)
  }

  private func table(_ name: String, rows: Int) throws -> Embedding {
    Embedding(
      weight: Parameter(try weights.tensor(name + ".weight", [rows, configuration.hiddenSize])))
  }
}
