public import Layers
public import Tensors

/// A decoder without its head.
public final class DecoderModel: Module {
  /// Shape and switches.
  public let configuration: DecoderConfiguration
  /// Token embeddings.
  public let embedding: Embedding
  let layers: [DecoderLayer]
  /// Learned positions, or nil.
  let positions: Embedding?
  let norm: any Normalization
  /// Whether blocks are computed again in the backward pass instead of being kept.
  public var checkpointsActivations = false
  /// The generator that dropout inside blocks draws from, so that computing again gives the same.
  public var dropoutGenerator: Generator?
  /// What stands before the tokens of every row; nil for nothing.
  public var prompt: ModelPrompt?

  init(
    configuration: DecoderConfiguration, embedding: Embedding, positions: Embedding?,
    layers: [DecoderLayer], norm: any Normalization
  ) {
    self.configuration = configuration
    self.embedding = embedding
    self.positions = positions
    self.layers = layers
    self.norm = norm
  }

  /// Embeddings, blocks and the last norm, by their family's names.
  public var children: [(name: String, module: any Module)] {
    let names = configuration.names
    var result: [(name: String, module: any Module)] = [(names.embedding, embedding)]
    if let positions, let name = names.positions { result.append((name, positions)) }
    result += layers.enumerated().map { ("\(names.layers).\($0.offset)", $0.element) }
    return result + [(names.finalNorm, norm)]
  }

  /// Hidden states after the last norm.
  ///
  /// - Parameters:
  ///   - batch: Ids, positions and masks; with a cache, only the new positions.
  ///   - cache: Keys and values of earlier positions; extended by this call.
  /// - Returns: `[batch, length, hiddenSize]`.
  public func callAsFunction(_ batch: DecoderInput, cache: KeyValueCache? = nil) -> Tensor {
    let (states, leading) = states(batch, cache: cache)
    return leading == 0 ? states : states.narrowed(1, leading..<states.size(1))
  }

  /// Hidden states after the last norm, those of virtual tokens among them.
  ///
  /// - Parameters:
  ///   - batch: Ids, positions and masks; with a cache, only the new positions.
  ///   - cache: Keys and values of earlier positions; extended by this call.
  /// - Returns: `[batch, leading + length, hiddenSize]` and how many virtual tokens went through the
  ///   blocks; none where the prompt is keys and values, or stands in the cache already.
  func states(
    _ batch: DecoderInput, cache: KeyValueCache? = nil
  ) -> (states: Tensor, leading: Int) {
    var x = tokenEmbeddings(batch.ids)
    let placed = PlacedInput(batch, prompt: prompt, past: cache?.length ?? 0, embeddings: &x)
    if let positions { x = x + positions(placed.positions) }
    var rotations: [RopeConfiguration: (cosine: Tensor, sine: Tensor)] = [:]
    for rope in Set(configuration.ropes.compactMap { $0 }) {
      rotations[rope] = rope.tables(positions: placed.positions, dtype: x.dtype)
    }
    var masks: [Int?: AttentionMask] = [:]
    for window in Set(configuration.slidingWindows) {
      masks[window] = .decoder(
        length: placed.length, keyLength: placed.keyLength, keyMask: placed.mask,
        sequenceIDs: batch.sequenceIDs, prefixLength: prompt?.length ?? 0,
        positions: placed.positions, window: window, device: x.device)
    }
    let growth = configuration.queryGrowth.map { growth in
      let steps = (placed.positions.to(.float32) / Double(growth.originalLength)).to(.int64)
        .to(.float32)
      return ((steps + 1.0).logarithm() * growth.b + 1.0).to(x.dtype).unsqueezed(1).unsqueezed(-1)
    }
    let context = DecoderContext(
      rotations: rotations, masks: masks, queryGrowth: growth, configuration: configuration,
      cache: cache)
    for (index, layer) in layers.enumerated() {
      let prefix = placed.keysAndValues?.selected(0, index)
      if checkpointsActivations && isRecordingGradients {
        x = checkpointed(
          [x] + (prefix.map { [$0] } ?? []), parameters: layer.parameters().map(\.parameter),
          generator: dropoutGenerator
        ) { layer($0[0], context, layer: index, prefix: $0.count > 1 ? $0[1] : nil) }
      } else {
        x = layer(x, context, layer: index, prefix: prefix)
      }
    }
    cache?.advance(by: placed.keyLength - (cache?.length ?? 0))
    return (norm(x), placed.leading)
  }

  /// What the first block reads of tokens.
  ///
  /// - Parameter ids: int64 ids of any shape.
  /// - Returns: Their shape and the hidden size.
  func tokenEmbeddings(_ ids: Tensor) -> Tensor {
    let x = embedding(ids)
    let scale = configuration.embeddingScale
    // Rounded to the weights' type first, as transformers does.
    return scale == 1 ? x : x * Tensor([Float(scale)]).to(x.dtype).to(device: x.device)
  }
}

/// A batch of rows for a decoder.
public struct DecoderInput {
  /// int64 `[batch, length]`.
  public var ids: Tensor
  /// int64 `[batch, keyLength]`, zero where a key is padding; nil when none is or when rows are
  /// padded on the right and nobody looks at the padding's outputs.
  public var mask: Tensor?
  /// int64 `[batch or 1, length]`; nil to count on from what is cached.
  public var positions: Tensor?
  /// int64 `[batch, length]`, documents of packed rows; nil when rows are not packed.
  public var sequenceIDs: Tensor?

  /// Makes a batch.
  ///
  /// - Parameters:
  ///   - ids: int64 `[batch, length]`.
  ///   - mask: int64 `[batch, keyLength]` or nil.
  ///   - positions: int64 `[batch or 1, length]` or nil.
  ///   - sequenceIDs: int64 `[batch, length]` or nil.
  public init(
    ids: Tensor, mask: Tensor? = nil, positions: Tensor? = nil, sequenceIDs: Tensor? = nil
  ) {
    self.ids = ids
    self.mask = mask
    self.positions = positions
    self.sequenceIDs = sequenceIDs
  }
}
