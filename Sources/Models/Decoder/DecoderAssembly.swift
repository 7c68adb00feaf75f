import Layers

/// Puts blocks together from layers that a checkpoint or something else gives.
struct DecoderAssembly<Failure: Error> {
  let configuration: DecoderConfiguration
  /// A linear layer by its path, its outputs and inputs, and whether it has a bias.
  let linear: (_ name: String, _ shape: [Int], _ hasBias: Bool) throws(Failure) -> Linear
  /// A norm by its path and size.
  let norm: (_ name: String, _ size: Int) throws(Failure) -> any Normalization

  /// A block.
  ///
  /// - Parameter path: What stands before the names of its parts, with a dot behind it.
  /// - Returns: The block.
  /// - Throws: What making a layer throws.
  func layer(_ path: String) throws(Failure) -> DecoderLayer {
    let (c, names) = (configuration, configuration.names)
    func norm(_ name: String?) throws(Failure) -> (any Normalization)? {
      guard let name else { return nil }
      return try self.norm(path + name, c.hiddenSize)
    }
    return DecoderLayer(
      attention: try attention("\(path)\(names.attention)."), mlp: try mlp("\(path)\(names.mlp)."),
      norms: DecoderLayer.Norms(
        attention: try norm(names.attentionNorm),
        attentionOutput: try norm(names.attentionOutputNorm), mlp: try norm(names.mlpNorm),
        mlpOutput: try norm(names.mlpOutputNorm)), c)
  }

  private func attention(_ path: String) throws(Failure) -> DecoderAttention {
    let (c, names) = (configuration, configuration.names)
    let width = c.headCount * c.headSize
    let keyWidth = c.keyValueHeadCount * c.headSize
    func projection(_ name: String, _ outputs: Int) throws(Failure) -> Linear {
      try linear(path + name, [outputs, c.hiddenSize], c.hasQueryKeyValueBias)
    }
    func norm(_ name: String, _ width: Int) throws(Failure) -> (any Normalization)? {
      switch c.queryKeyNorm {
      case .none: nil
      case .perHead: try self.norm(path + name, c.headSize)
      case .whole: try self.norm(path + name, width)
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

  private func mlp(_ path: String) throws(Failure) -> DecoderMLP {
    let (c, names) = (configuration, configuration.names)
    func inward(_ name: String, times count: Int = 1) throws(Failure) -> Linear {
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
}
