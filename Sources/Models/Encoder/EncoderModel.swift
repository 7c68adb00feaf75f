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
  /// Dropout of the model's own.
  let dropout = ModelDropout()
  /// What stands before the tokens of every row; nil for nothing.
  var prompt: ModelPrompt?
  /// The generator that dropout inside blocks draws from, so that computing again gives the same.
  public var dropoutGenerator: Generator? {
    get { dropout.generator }
    set { dropout.generator = newValue }
  }
  /// What brings the numbers of the blocks when a pass comes to them; nil where they are always there.
  var residency: BlockResidency?
  /// How a pass comes to its blocks.
  var pass: BlockPass { BlockPass(residency, stacks: [Array(layers.indices)]) }
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

  /// Hidden states behind the last block, those of virtual tokens left out.
  ///
  /// - Parameter input: Ids, masks and segments.
  /// - Returns: `[batch, length, hiddenSize]`.
  public func callAsFunction(_ input: TaskInput) -> Tensor {
    let (states, leading) = states(of: input)
    return leading == 0 ? states : states.narrowed(1, leading..<states.size(1))
  }

  /// Hidden states behind the last block, those of virtual tokens among them.
  ///
  /// - Parameters:
  ///   - input: Ids, masks and segments.
  ///   - observe: Told of each block's keys and values.
  /// - Returns: `[batch, leading + length, hiddenSize]`, and how many virtual tokens went through the
  ///   blocks.
  func states(
    of input: TaskInput, observe: ((_ keys: Tensor, _ values: Tensor) -> Void)? = nil
  ) -> (states: Tensor, leading: Int) {
    inputObserver?(input.forDecoder, 0)
    let (c, pass) = (configuration, pass)
    let placed = withScope(.layer, "embeddings") { self.placed(input) }
    var x = withScope(.layer, "embeddings") {
      dropout(
        pass.entry {
          var x = placed.embeddings
          if let table = embeddings.tokenTypes { x = x + table(placed.types) }
          if let table = embeddings.positions { x = x + table(placed.positions) }
          return embeddings.norm(x)
        }, c.dropout.embeddings)
    }
    if checkpointsActivations && isRecordingGradients {
      embeddings.tokens.releaseFileBackedMemory()
    }
    var rotations: [RopeConfiguration: (cosine: Tensor, sine: Tensor)] = [:]
    for rope in Set(c.ropes) {
      rotations[rope] = rope.tables(positions: placed.positions, dtype: x.dtype)
    }
    var masks: [Int?: AttentionMask] = [:]
    for reach in Set(c.reaches) {
      masks[reach] = .encoder(
        length: placed.keyLength, mask: placed.mask, reach: reach, device: x.device)
    }
    for (index, layer) in layers.enumerated() {
      let context = EncoderLayer.Context(
        mask: masks[c.reaches[index]] ?? AttentionMask(),
        rotation: c.ropes.isEmpty ? nil : rotations[c.ropes[index]], dropout: dropout,
        observe: observe)
      func block(_ inputs: [Tensor]) -> [Tensor] {
        withScope(.layer, "\(c.names.layers).\(index)") {
          [layer(inputs[0], context, prefix: inputs.count > 1 ? inputs[1] : nil)]
        }
      }
      func kept(_ inputs: [Tensor]) -> [Tensor] {
        guard checkpointsActivations && isRecordingGradients else { return block(inputs) }
        return checkpointed(
          inputs, parameters: layer.parameters().map(\.parameter), generator: dropoutGenerator,
          block)
      }
      let inputs = [x] + (placed.keysAndValues.map { [$0.selected(0, index)] } ?? [])
      x = pass.block(index, inputs, kept)[0]
    }
    return (finalNorm.map { norm in pass.exit { norm(x) } } ?? x, placed.leading)
  }

  /// Keys and values that the blocks compute for a row without a prompt.
  func keysAndValues(of ids: [Int]) -> Tensor {
    let before = prompt
    prompt = nil
    defer { prompt = before }
    return withoutGradients {
      var found: [Tensor] = []
      let row = TaskInput(ids: Tensor(ids, shape: [1, ids.count]).to(device: device))
      _ = states(of: row) { found.append(Tensor.stacked([$0.selected(0, 0), $1.selected(0, 0)])) }
      return Tensor.stacked(found)
    }
  }

  /// A row behind its prompt.
  private struct Placed {
    /// `[batch, leading + length, hiddenSize]`, of tokens and virtual ones.
    let embeddings: Tensor
    let types: Tensor
    /// int64 `[batch or 1, leading + length]`.
    let positions: Tensor
    let mask: Tensor?
    let keyLength: Int
    /// Virtual tokens that go through the blocks.
    let leading: Int
    /// `[layers, 2, heads, n, head size]`, where the prompt is these.
    let keysAndValues: Tensor?
  }

  private func placed(_ input: TaskInput) -> Placed {
    let (rows, length) = (input.ids.size(0), input.ids.size(1))
    let tokens = tokenEmbeddings(input.ids)
    let types = input.tokenTypes ?? input.ids.zerosLike()
    guard let prompt else {
      return Placed(
        embeddings: tokens, types: types, positions: input.positions ?? numbered(input.ids),
        mask: input.mask, keyLength: length, leading: 0, keysAndValues: nil)
    }
    let count = prompt.length
    let made = prompt.make(rows).to(tokens.dtype)
    func before(_ number: Int, _ own: Tensor) -> Tensor {
      let added = Tensor.full([rows, count], Double(number), dtype: own.dtype, device: own.device)
      return Tensor.concatenated([added, own], dimension: 1)
    }
    let mask = input.mask.map { before(1, $0) }
    guard prompt.kind == .embeddings else {
      return Placed(
        embeddings: tokens, types: types,
        positions: input.positions.map { ($0 + Double(count)).to(.int64) }
          ?? numbered(input.ids, past: count), mask: mask, keyLength: count + length, leading: 0,
        keysAndValues: made)
    }
    let each = made.rank == 2 ? made.unsqueezed(0) : made
    // As transformers numbers embeddings: one after the other, padding too.
    let first = configuration.firstPosition
    return Placed(
      embeddings: Tensor.concatenated([each.expanded([rows, -1, -1]), tokens], dimension: 1),
      types: before(0, types),
      positions: Tensor.arange(first, first + count + length, device: tokens.device).unsqueezed(0),
      mask: mask, keyLength: count + length, leading: count, keysAndValues: nil)
  }

  /// Positions of ids behind what came before, int64 `[batch or 1, length]`.
  private func numbered(_ ids: Tensor, past: Int = 0) -> Tensor {
    switch configuration.positions {
    case .counted:
      return Tensor.arange(past, past + ids.size(1), device: ids.device).unsqueezed(0)
    case .behindPadding(let id):
      let isToken = (ids .!= Double(id)).to(.int64)
      return ((isToken.cumulativeSum() + Double(past)) * isToken + Double(id)).to(.int64)
    }
  }
}
