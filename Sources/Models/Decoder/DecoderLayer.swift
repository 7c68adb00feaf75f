import Layers
import Tensors

/// One block: x + attention(norm(x)), then x + mlp(norm(x)), with the norms that its family has.
final class DecoderLayer: Module {
  /// The block's norms; each may be missing.
  struct Norms {
    var attention: (any Normalization)?
    var attentionOutput: (any Normalization)?
    var mlp: (any Normalization)?
    var mlpOutput: (any Normalization)?
  }

  let attention: DecoderAttention
  let mlp: DecoderMLP
  let norms: Norms
  let configuration: DecoderConfiguration

  init(
    attention: DecoderAttention, mlp: DecoderMLP, norms: Norms,
    _ configuration: DecoderConfiguration
  ) {
    self.attention = attention
    self.mlp = mlp
    self.norms = norms
    self.configuration = configuration
  }

  var children: [(name: String, module: any Module)] {
    let names = configuration.names
    let norms: [(name: String?, norm: (any Normalization)?)] = [
      (names.attentionNorm, norms.attention), (names.attentionOutputNorm, norms.attentionOutput),
      (names.mlpNorm, norms.mlp), (names.mlpOutputNorm, norms.mlpOutput),
    ]
    return [(names.attention, attention), (names.mlp, mlp)]
      + norms.compactMap { name, norm in name.flatMap { name in norm.map { (name, $0) } } }
  }

  // `prefix`: keys and values before the row's own, [2, K, n, D].
  func callAsFunction(
    _ x: Tensor, _ context: DecoderContext, layer: Int, prefix: Tensor?
  ) -> Tensor {
    let (dropout, rates) = (context.dropout, configuration.dropout)
    let names = configuration.names
    if configuration.isParallel {
      let read = norms.attention.map { $0(x) } ?? x
      let gathered = withScope(.layer, names.attention) {
        attention(read, context, layer: layer, prefix: prefix)
      }
      let worked = withScope(.layer, names.mlp) { mlp(read) }
      return dropout(gathered, rates.attentionOutput) + dropout(worked, rates.mlpOutput) + x
    }
    // A norm counts towards what reads it, as the two may be computed together.
    let attended = withScope(.layer, names.attention) {
      let isPlain = addsPlainly(context, norms.attentionOutput, rates.attentionOutput)
      let fused = norms.attention.flatMap {
        attention.fused(
          x, norm: $0, addsInput: isPlain, context, layer: layer, prefix: prefix)
      }
      if isPlain, let fused { return fused }
      let gathered =
        fused
        ?? attention(norms.attention.map { $0(x) } ?? x, context, layer: layer, prefix: prefix)
      let dropped = dropout(gathered, rates.attentionOutput)
      return added(norms.attentionOutput.map { $0(dropped) } ?? dropped, to: x)
    }
    return withScope(.layer, names.mlp) {
      let isPlain = addsPlainly(context, norms.mlpOutput, rates.mlpOutput)
      let fused = norms.mlp.flatMap {
        context.usesFusedLayers ? mlp.fused(attended, norm: $0, addsInput: isPlain) : nil
      }
      if isPlain, let fused { return fused }
      let worked = fused ?? mlp(norms.mlp.map { $0(attended) } ?? attended)
      let kept = dropout(worked, rates.mlpOutput)
      return added(norms.mlpOutput.map { $0(kept) } ?? kept, to: attended)
    }
  }

  private func added(_ branch: Tensor, to x: Tensor) -> Tensor {
    let scale = configuration.residualScale
    return x + (scale == 1 ? branch : branch * scale)
  }

  /// Whether what a branch gives is added to its input as it is.
  private func addsPlainly(
    _ context: DecoderContext, _ norm: (any Normalization)?, _ dropoutRate: Double
  ) -> Bool {
    norm == nil && configuration.residualScale == 1 && !context.dropout.acts(dropoutRate)
  }
}

extension DecoderLayer {
  /// A block over the same weights, whose linear layers can have adapters of their own.
  func sharingWeights() -> DecoderLayer {
    func copy(_ layer: Linear) -> Linear {
      Linear(layer.projection, isTransposedInFiles: layer.isTransposedInFiles)
    }
    let projections: AttentionProjections
    switch attention.projections {
    case .separate(let query, let key, let value):
      projections = .separate(query: copy(query), key: copy(key), value: copy(value))
    case .fused(let all): projections = .fused(copy(all))
    }
    let inputs: DecoderMLP.Inputs
    switch mlp.inputs {
    case .gated(let gate, let up): inputs = .gated(gate: copy(gate), up: copy(up))
    case .fused(let both): inputs = .fused(copy(both))
    case .plain(let up): inputs = .plain(copy(up))
    }
    return DecoderLayer(
      attention: DecoderAttention(
        projections, output: copy(attention.output), queryNorm: attention.queryNorm?.copied(),
        keyNorm: attention.keyNorm?.copied(), configuration),
      mlp: DecoderMLP(
        inputs, down: copy(mlp.down), activation: mlp.activation, names: configuration.names),
      norms: Norms(
        attention: norms.attention?.copied(), attentionOutput: norms.attentionOutput?.copied(),
        mlp: norms.mlp?.copied(), mlpOutput: norms.mlpOutput?.copied()), configuration)
  }
}

/// What every layer of one forward pass needs.
struct DecoderContext {
  /// Cosines and sines of each kind of rotary embedding.
  let rotations: [RopeConfiguration: (cosine: Tensor, sine: Tensor)]
  /// One mask for each distinct window.
  let masks: [Int?: AttentionMask]
  /// Factor of queries, `[batch or 1, 1, length, 1]`, or nil.
  let queryGrowth: Tensor?
  let configuration: DecoderConfiguration
  let cache: KeyValueCache?
  let usesFusedLayers: Bool
  let attentionProductType: DType
  let dropout: ModelDropout
  /// How tokens lie in rows, where they come without padding; nil where they come in rows.
  let joinedRows: JoinedRows?

  func mask(layer: Int) -> AttentionMask {
    masks[configuration.slidingWindows[layer]] ?? AttentionMask(isCausal: true)
  }

  func rotation(layer: Int) -> (cosine: Tensor, sine: Tensor)? {
    configuration.ropes[layer].flatMap { rotations[$0] }
  }
}
