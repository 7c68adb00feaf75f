public import Layers
public import Tensors

/// A decoder without its head.
public final class DecoderModel: Module {
  /// Shape and switches.
  public private(set) var configuration: DecoderConfiguration
  /// Token embeddings.
  public let embedding: Embedding
  private(set) var layers: [DecoderLayer]
  let originalLayers: [DecoderLayer]
  /// Number of the checkpoint's block that each block is.
  private(set) var layerOrigins: [Int]
  /// Learned positions, or nil.
  let positions: Embedding?
  let norm: any Normalization
  /// Whether blocks are computed again in the backward pass instead of being kept.
  public var checkpointsActivations = false
  /// Whether layers of a block that allow it are computed together, in fewer passes over memory and
  /// keeping less for the backward pass.
  ///
  /// Sums are added up in another order than by the single layers: results differ in the last digits.
  /// `Trainer` switches it on for its steps, unless told not to.
  public var usesFusedLayers = false
  /// Type that attention multiplies in where layers are fused and no cache is used: float32 or bfloat16.
  ///
  /// Scores, shares and sums are float32.
  public var attentionProductType = DType.float32
  /// Whether generation takes single new tokens through the blocks by kernels of its own, where every
  /// part of the decoder has one.
  ///
  /// Sums are added up in another order than by the single layers: results differ in the last digits.
  public var usesStepKernels = true
  /// Dropout of the model's own.
  let dropout = ModelDropout()
  /// The generator that dropout inside blocks draws from, so that computing again gives the same.
  public var dropoutGenerator: Generator? {
    get { dropout.generator }
    set { dropout.generator = newValue }
  }
  /// Told of every batch before it runs.
  var inputObserver: ((_ batch: DecoderInput, _ past: Int) -> Void)?
  /// Told of the rows that stay when a cache takes others, by their numbers before.
  var rowObserver: ((_ rows: [Int]) -> Void)?
  /// What stands before the tokens of every row; nil for nothing.
  public var prompt: ModelPrompt?
  /// What brings the numbers of the blocks when a pass comes to them; nil where they are always there.
  public var residency: BlockResidency?
  /// How a pass comes to its blocks.
  var pass: BlockPass { BlockPass(residency, stacks: [layerOrigins]) }
  /// The blocks as residencies count them; none where parts of them have copies or take part in more than
  /// one pass.
  public var blocks: [any Module] {
    companion == nil && layers.elementsEqual(originalLayers, by: { $0 === $1 }) ? layers : []
  }
  /// What takes part in every pass beside the blocks; nil for nothing.
  public var companion: (any PassCompanion)?

  init(
    configuration: DecoderConfiguration, embedding: Embedding, positions: Embedding?,
    layers: [DecoderLayer], norm: any Normalization
  ) {
    self.configuration = configuration
    self.embedding = embedding
    self.positions = positions
    self.layers = layers
    originalLayers = layers
    layerOrigins = Array(layers.indices)
    self.norm = norm
  }

  /// Takes other blocks, which share the weights of those that they are copies of.
  func replicateLayers(_ origins: [Int]) {
    layers = origins.map { originalLayers[$0].sharingWeights() }
    layerOrigins = origins
    configuration.takeLayers(origins)
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
  ///   - step: What goes through the blocks in their place, where it can.
  ///   - fused: Whether layers are computed together; nil for what ``usesFusedLayers`` says.
  ///   - joined: What ``joinedRows(_:)`` made of the batch.
  /// - Returns: `[batch, leading + length, hiddenSize]`, of joined rows `[1, tokens, hiddenSize]`, and how
  ///   many virtual tokens went through the blocks; none where the prompt is keys and values, or stands in
  ///   the cache already.
  func states(
    _ batch: DecoderInput, cache: KeyValueCache? = nil, step: DecoderStep? = nil,
    fused: Bool? = nil, joined: JoinedRows? = nil
  ) -> (states: Tensor, leading: Int) {
    inputObserver?(batch, cache?.length ?? 0)
    let batch = joined?.input(batch) ?? batch
    let (names, pass) = (configuration.names, pass)
    var x = withScope(.layer, names.embedding) { tokenEmbeddings(batch.ids) }
    let placed = PlacedInput(batch, prompt: prompt, past: cache?.length ?? 0, embeddings: &x)
    if let positions { x = pass.entry { x + positions(placed.positions) } }
    x = dropout(x, configuration.dropout.embeddings)
    var rotations: [RopeConfiguration: (cosine: Tensor, sine: Tensor)] = [:]
    for rope in Set(configuration.ropes.compactMap { $0 }) {
      rotations[rope] = rope.tables(positions: placed.positions, dtype: x.dtype)
    }
    var masks: [Int?: AttentionMask] = [:]
    for window in Set(configuration.slidingWindows) {
      masks[window] = .decoder(
        length: joined?.length ?? placed.length,
        keyLength: joined?.length ?? placed.keyLength, keyMask: placed.mask,
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
      cache: cache, usesFusedLayers: fused ?? usesFusedLayers,
      attentionProductType: cache == nil ? attentionProductType : .float32, dropout: dropout,
      joinedRows: joined)
    if let step, let cache, placed.keysAndValues == nil, residency == nil, step.fits(x, context) {
      let states = step(x, context, cache)
      cache.advance(by: 1)
      return (states, placed.leading)
    }
    let companion = companion
    // It may look tokens up in the same table.
    var carried = companion.flatMap { companion in
      pass.atEntry { companion.begin(batch, cache: cache) }
    }
    for (index, layer) in layers.enumerated() {
      let prefix = placed.keysAndValues?.selected(0, index)
      func block(_ inputs: [Tensor]) -> [Tensor] {
        withScope(.layer, "\(names.layers).\(index)") {
          guard let companion, inputs.count > 1 else {
            return [
              layer(inputs[0], context, layer: index, prefix: inputs.count > 1 ? inputs[1] : nil)
            ]
          }
          return companion.run(index, inputs[0], carried: inputs[1]) {
            layer($0, context, layer: index, prefix: nil)
          }
        }
      }
      func kept(_ states: [Tensor]) -> [Tensor] {
        guard checkpointsActivations && isRecordingGradients else { return block(states) }
        return checkpointed(
          states,
          parameters: layer.parameters().map(\.parameter)
            + (companion?.parameters(ofBlock: index) ?? []),
          generator: dropoutGenerator, block)
      }
      // A prompt and a companion never act together.
      var states = [x] + ((carried ?? prefix).map { [$0] } ?? [])
      states = pass.block(index, states, kept)
      x = states[0]
      if states.count > 1 { carried = states[1] }
    }
    cache?.advance(by: placed.keyLength - (cache?.length ?? 0))
    let normed = pass.exit { withScope(.layer, names.finalNorm) { norm(x) } }
    return (normed, placed.leading)
  }

  /// Keys and values that the blocks compute for a row without a prompt.
  func keysAndValues(of ids: [Int]) -> Tensor {
    let before = prompt
    prompt = nil
    defer { prompt = before }
    return withoutGradients {
      let cache = KeyValueCache(layerCount: configuration.layerCount, capacity: ids.count)
      let row = Tensor(ids, shape: [1, ids.count]).to(device: embedding.device)
      _ = self(DecoderInput(ids: row), cache: cache)
      let layers = (0..<configuration.layerCount).map { layer in
        let found = cache.first(ids.count, ofLayer: layer)
        return Tensor.stacked([found.keys.selected(0, 0), found.values.selected(0, 0)])
      }
      return Tensor.stacked(layers)
    }
  }

  /// What the first block reads of tokens.
  ///
  /// - Parameter ids: int64 ids of any shape.
  /// - Returns: Their shape and the hidden size.
  func tokenEmbeddings(_ ids: Tensor) -> Tensor {
    let x = pass.entry { embedding(ids) }
    // Like the blocks': a row that is looked up may bring megabytes of its surroundings along.
    if checkpointsActivations && isRecordingGradients { embedding.releaseFileBackedMemory() }
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
  /// int64 `[batch]`, tasks of the rows, for adapters of several tasks; nil for none.
  public var taskIDs: Tensor?
  /// Tokens of each row, where all padding is on the right; nil where that is not known.
  ///
  /// Losses may then be computed without the padding.
  public var rowLengths: [Int]?

  /// Makes a batch.
  ///
  /// - Parameters:
  ///   - ids: int64 `[batch, length]`.
  ///   - mask: int64 `[batch, keyLength]` or nil.
  ///   - positions: int64 `[batch or 1, length]` or nil.
  ///   - sequenceIDs: int64 `[batch, length]` or nil.
  ///   - taskIDs: int64 `[batch]` or nil.
  ///   - rowLengths: Tokens of each row, or nil.
  public init(
    ids: Tensor, mask: Tensor? = nil, positions: Tensor? = nil, sequenceIDs: Tensor? = nil,
    taskIDs: Tensor? = nil, rowLengths: [Int]? = nil
  ) {
    self.ids = ids
    self.mask = mask
    self.positions = positions
    self.sequenceIDs = sequenceIDs
    self.taskIDs = taskIDs
    self.rowLengths = rowLengths
  }
}
