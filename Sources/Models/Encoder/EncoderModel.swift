public import Layers
public import Tensors

/// An encoder without a head.
public final class EncoderModel: Module {
  /// The parts in front of the blocks.
  struct Embeddings {
    let tokens: Embedding
    let positions: Embedding?
    let tokenTypes: Embedding?
    let norm: LayerNorm
  }

  /// Shape and switches.
  public let configuration: EncoderConfiguration
  let embeddings: Embeddings
  let layers: [EncoderLayer]
  let finalNorm: LayerNorm?
  /// The layer on the first token's vector; nil where there is none.
  let pooler: Linear?
  /// Whether blocks are computed again in the backward pass instead of being kept.
  public var checkpointsActivations = false
  /// The generator that dropout inside blocks draws from, so that computing again gives the same.
  public var dropoutGenerator: Generator?
  /// Told of every batch before it runs.
  var inputObserver: ((_ batch: DecoderInput, _ past: Int) -> Void)?
  /// Embeddings, blocks, norm and pooler, by their family's names.
  public let children: [(name: String, module: any Module)]

  init(
    _ configuration: EncoderConfiguration, _ embeddings: Embeddings, layers: [EncoderLayer],
    finalNorm: LayerNorm?, pooler: Linear?
  ) {
    self.configuration = configuration
    self.embeddings = embeddings
    self.layers = layers
    self.finalNorm = finalNorm
    self.pooler = pooler
    let names = configuration.names
    let parts: [(name: String?, module: (any Module)?)] =
      [
        (names.tokens, embeddings.tokens), (names.positions, embeddings.positions),
        (names.tokenTypes, embeddings.tokenTypes), (names.embeddingNorm, embeddings.norm),
      ] + layers.enumerated().map { ("\(names.layers).\($0.offset)", $0.element) }
      + [(names.finalNorm, finalNorm), (names.pooler, pooler)]
    children =
      ModuleGroup(
        parts.compactMap { name, module in name.flatMap { name in module.map { (name, $0) } } }
      ).children
  }

  /// Where the weights live.
  public var device: Device { embeddings.tokens.device }

  /// Hidden states behind the last block.
  ///
  /// - Parameter input: Ids, masks and segments.
  /// - Returns: `[batch, length, hiddenSize]`.
  public func callAsFunction(_ input: TaskInput) -> Tensor {
    inputObserver?(input.forDecoder, 0)
    let c = configuration
    let positions = input.positions ?? numbered(input.ids)
    var x = embeddings.tokens(input.ids)
    if let table = embeddings.tokenTypes {
      x = x + table(input.tokenTypes ?? input.ids.zerosLike())
    }
    if let table = embeddings.positions { x = x + table(positions) }
    x = embeddings.norm(x)
    var rotations: [RopeConfiguration: (cosine: Tensor, sine: Tensor)] = [:]
    for rope in Set(c.ropes) { rotations[rope] = rope.tables(positions: positions, dtype: x.dtype) }
    var masks: [Int?: AttentionMask] = [:]
    for reach in Set(c.reaches) {
      masks[reach] = .encoder(
        length: input.ids.size(1), mask: input.mask, reach: reach, device: x.device)
    }
    for (index, layer) in layers.enumerated() {
      let mask = masks[c.reaches[index]] ?? AttentionMask()
      let rotation = c.ropes.isEmpty ? nil : rotations[c.ropes[index]]
      if checkpointsActivations && isRecordingGradients {
        x =
          checkpointed(
            [x], parameters: layer.parameters().map(\.parameter), generator: dropoutGenerator
          ) { [layer($0[0], mask, rotation: rotation)] }[0]
      } else {
        x = layer(x, mask, rotation: rotation)
      }
    }
    return finalNorm.map { $0(x) } ?? x
  }

  /// Positions of ids, int64 `[batch or 1, length]`.
  private func numbered(_ ids: Tensor) -> Tensor {
    switch configuration.positions {
    case .counted: return Tensor.arange(0, ids.size(1), device: ids.device).unsqueezed(0)
    case .behindPadding(let id):
      let isToken = (ids .!= Double(id)).to(.int64)
      return (isToken.cumulativeSum() * isToken + Double(id)).to(.int64)
    }
  }
}
