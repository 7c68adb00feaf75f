public import Layers
public import Tensors

/// A batch of rows for an encoder.
public struct EncoderInput {
  /// int64 `[batch, length]`.
  public var ids: Tensor
  /// int64 `[batch, length]`, zero where a position is padding; nil when none is.
  public var mask: Tensor?
  /// int64 `[batch, length]`, segments; nil for the first one everywhere.
  public var tokenTypes: Tensor?
  /// int64 `[batch or 1, length]`; nil for the family's own.
  public var positions: Tensor?

  /// Makes a batch.
  ///
  /// - Parameters:
  ///   - ids: int64 `[batch, length]`.
  ///   - mask: int64 `[batch, length]` or nil.
  ///   - tokenTypes: int64 `[batch, length]` or nil.
  ///   - positions: int64 `[batch or 1, length]` or nil.
  public init(
    ids: Tensor, mask: Tensor? = nil, tokenTypes: Tensor? = nil, positions: Tensor? = nil
  ) {
    self.ids = ids
    self.mask = mask
    self.tokenTypes = tokenTypes
    self.positions = positions
  }
}

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

  init(
    _ configuration: EncoderConfiguration, _ embeddings: Embeddings, layers: [EncoderLayer],
    finalNorm: LayerNorm?, pooler: Linear?
  ) {
    self.configuration = configuration
    self.embeddings = embeddings
    self.layers = layers
    self.finalNorm = finalNorm
    self.pooler = pooler
  }

  /// Where the weights live.
  public var device: Device { embeddings.tokens.device }

  /// Embeddings, blocks, norm and pooler, by their family's names.
  public var children: [(name: String, module: any Module)] {
    let names = configuration.names
    let parts: [(name: String?, module: (any Module)?)] =
      [
        (names.tokens, embeddings.tokens), (names.positions, embeddings.positions),
        (names.tokenTypes, embeddings.tokenTypes), (names.embeddingNorm, embeddings.norm),
      ] + layers.enumerated().map { ("\(names.layers).\($0.offset)", $0.element) }
      + [(names.finalNorm, finalNorm), (names.pooler, pooler)]
    return parts.compactMap { name, module in name.flatMap { name in module.map { (name, $0) } } }
  }

  /// Hidden states behind the last block.
  ///
  /// - Parameter batch: Ids, masks and segments.
  /// - Returns: `[batch, length, hiddenSize]`.
  public func callAsFunction(_ batch: EncoderInput) -> Tensor {
    let c = configuration
    var x = embeddings.tokens(batch.ids)
    let positions = batch.positions ?? numbered(batch)
    if let table = embeddings.tokenTypes {
      x = x + table(batch.tokenTypes ?? batch.ids.zerosLike())
    }
    if let table = embeddings.positions { x = x + table(positions) }
    x = embeddings.norm(x)
    var rotations: [RopeConfiguration: (cosine: Tensor, sine: Tensor)] = [:]
    for rope in Set(c.ropes) { rotations[rope] = rope.tables(positions: positions, dtype: x.dtype) }
    var masks: [Int?: AttentionMask] = [:]
    for reach in Set(c.reaches) {
      masks[reach] = .encoder(
        length: batch.ids.size(1), mask: batch.mask, reach: reach, device: x.device)
    }
    for (index, layer) in layers.enumerated() {
      let mask = masks[c.reaches[index]] ?? AttentionMask()
      let rotation = c.ropes.isEmpty ? nil : rotations[c.ropes[index]]
      if checkpointsActivations && isRecordingGradients {
        x = checkpointed(
          [x], parameters: layer.parameters().map(\.parameter), generator: dropoutGenerator
        ) { layer($0[0], mask, rotation: rotation) }
      } else {
        x = layer(x, mask, rotation: rotation)
      }
    }
    return finalNorm.map { $0(x) } ?? x
  }

  /// tanh of the pooler's layer on the first position, or that position where there is no pooler.
  ///
  /// - Parameter states: `[batch, length, hiddenSize]`.
  /// - Returns: `[batch, hiddenSize]`.
  func pooled(_ states: Tensor) -> Tensor {
    let first = states.selected(1, 0)
    return pooler.map { $0(first).tanh() } ?? first
  }

  private func numbered(_ batch: EncoderInput) -> Tensor {
    switch configuration.positions {
    case .counted:
      return Tensor.arange(0, batch.ids.size(1), device: batch.ids.device).unsqueezed(0)
    case .behindPadding(let id):
      let isToken = (batch.ids .!= Double(id)).to(.int64)
      return (isToken.cumulativeSum() * isToken + Double(id)).to(.int64)
    }
  }
}
