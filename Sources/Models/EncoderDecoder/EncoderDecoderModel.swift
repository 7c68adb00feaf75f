public import Layers
public import Tensors

/// A model with encoder and decoder, without a head.
public final class EncoderDecoderModel: Module {
  /// Shape and switches.
  public let configuration: EncoderDecoderConfiguration
  /// The table that both stacks have in common; they look up in layers of their own.
  let shared: Embedding
  let encoder: EncoderDecoderStack
  /// Missing where only what the encoder makes is asked for.
  let decoder: EncoderDecoderStack?
  /// What it is called inside the model with a head; empty where its parts stand beside the head.
  let name: String
  /// Dropout that the configuration asks for.
  let dropout: ModelDropout
  /// Virtual tokens: embeddings before the encoder's rows, keys and values before the decoder's.
  var prompt: ModelPrompt?
  /// What brings the numbers of the blocks when a pass comes to them; nil where they are always there.
  var residency: BlockResidency?
  /// The blocks as residencies count them: the encoder's, then the decoder's.
  var blocks: [any Module] { encoder.layers + (decoder?.layers ?? []) }
  /// Parameters that stand in a block and are read in front of all: numbers for distances.
  var parametersBeforeBlocks: [Parameter] {
    [encoder.relativeTable, decoder?.relativeTable].compactMap { $0 }
      .flatMap { $0.parameters().map(\.parameter) }
  }
  /// How a pass comes to its blocks.
  var pass: BlockPass {
    let (first, count) = (encoder.layers.count, decoder?.layers.count ?? 0)
    return BlockPass(residency, stacks: [Array(0..<first), Array(first..<(first + count))])
  }
  /// Told of every batch before it runs.
  var inputObserver: ((_ batch: DecoderInput, _ past: Int) -> Void)?
  /// The table, the encoder and the decoder.
  public let children: [(name: String, module: any Module)]

  init(
    _ configuration: EncoderDecoderConfiguration, shared: Embedding, encoder: EncoderDecoderStack,
    decoder: EncoderDecoderStack?, name: String
  ) {
    self.configuration = configuration
    self.shared = shared
    self.encoder = encoder
    self.decoder = decoder
    self.name = name
    dropout = encoder.dropout
    children =
      [(configuration.names.shared, shared), ("encoder", encoder)]
      + (decoder.map { [("decoder", $0)] } ?? [])
  }

  /// Where the weights live.
  public var device: Device { encoder.tokens.device }

  /// Whether blocks are computed again in the backward pass instead of being kept.
  public var checkpointsActivations: Bool {
    get { encoder.checkpointsActivations }
    set {
      encoder.checkpointsActivations = newValue
      decoder?.checkpointsActivations = newValue
    }
  }

  /// The generator that dropout inside blocks draws from, so that computing again gives the same.
  public var dropoutGenerator: Generator? {
    get { dropout.generator }
    set { dropout.generator = newValue }
  }

  /// What the encoder makes of rows.
  ///
  /// - Parameters:
  ///   - ids: int64 `[batch, length]`.
  ///   - mask: int64 `[batch, length]`, zero where a position is padding; nil when none is.
  ///   - taskIDs: int64 `[batch]`, tasks of the rows, for adapters of several tasks; nil for none.
  /// - Returns: `[batch, length, hiddenSize]`.
  public func encode(_ ids: Tensor, mask: Tensor? = nil, taskIDs: Tensor? = nil) -> Tensor {
    inputObserver?(DecoderInput(ids: ids, mask: mask, taskIDs: taskIDs), 0)
    return withScope(.layer, "encoder") { encoded(ids, mask) }
  }

  private func encoded(_ ids: Tensor, _ mask: Tensor?) -> Tensor {
    guard let prompt, prompt.kind == .embeddings else {
      return encoder(ids, mask: mask, pass: pass)
    }
    let made = prompt.make(ids.size(0))
    let virtual = made.rank == 2 ? made.unsqueezed(0).expanded([ids.size(0), -1, -1]) : made
    // PEFT looks rows up in what both stacks have in common, also where an encoder has its own table.
    return encoder(
      ids, mask: masked(mask, rows: ids.size(0), .embeddings),
      virtual: (virtual.narrowed(1, 0..<prompt.length), shared), pass: pass)
  }

  /// What the decoder makes of the rows written so far.
  ///
  /// - Parameters:
  ///   - ids: int64 `[batch, length]`, beginning with the start token; with a cache, only the new
  ///     positions.
  ///   - states: The encoder's, `[batch, states, hiddenSize]`; may be nil once a cache
  ///     ``EncoderDecoderCache/holdsStates``.
  ///   - mask: int64 `[batch, states]`, zero where a state is padding's; nil when none is.
  ///   - decoderMask: int64 `[batch, past + length]`, zero where a position of the decoder is padding;
  ///     nil when none is, or when the padding is on the right and nobody looks at its outputs.
  ///   - cache: Keys and values of earlier positions and of the states; extended by this call.
  /// - Returns: Hidden states behind the last norm, `[batch, length, hiddenSize]`.
  public func decode(
    _ ids: Tensor, states: Tensor?, mask: Tensor? = nil, decoderMask: Tensor? = nil,
    cache: EncoderDecoderCache? = nil
  ) -> Tensor {
    guard let decoder else { preconditionFailure("decode: a model without a decoder") }
    let rows = ids.size(0)
    let isFirst = (cache?.length ?? 0) == 0
    let prefix = prompt.flatMap { $0.kind == .keysAndValues && isFirst ? $0.make(rows) : nil }
    return withScope(.layer, "decoder") {
      decoder(
        ids, mask: masked(decoderMask, rows: rows, .keysAndValues), states: states,
        statesMask: masked(mask, rows: rows, .embeddings), prefix: prefix, cache: cache, pass: pass)
    }
  }

  /// A mask with what stands before every row, where that is of a kind.
  private func masked(_ mask: Tensor?, rows: Int, _ kind: ModelPrompt.Kind) -> Tensor? {
    guard let mask, let prompt, prompt.kind == kind else { return mask }
    let before = Tensor.ones([rows, prompt.length], dtype: mask.dtype, device: mask.device)
    return .concatenated([before, mask], dimension: 1)
  }

  /// What the decoder begins with to predict labels: the start token, then all labels but the last;
  /// padding where nothing is asked.
  ///
  /// - Parameter labels: int64 `[batch, length]`, `ignoredLabel` where nothing is asked.
  /// - Returns: int64 `[batch, length]`.
  public func shiftedRight(_ labels: Tensor) -> Tensor {
    let start = Tensor.full(
      [labels.size(0), 1], Double(configuration.decoderStartID), dtype: .int64,
      device: labels.device)
    let moved = Tensor.concatenated(
      [start, labels.narrowed(1, 0..<labels.size(1) - 1)], dimension: 1)
    return moved.filled(
      where: moved .== Double(ignoredLabel), Double(configuration.paddingID))
  }

  /// Checks that a row fits the model, on either side.
  ///
  /// - Parameter ids: The row's tokens.
  /// - Throws: ``ModelError/input(_:)`` for an empty or too long row and an id outside the vocabulary.
  public func check(_ ids: [Int]) throws(ModelError) {
    guard !ids.isEmpty else { throw .input("a row has no tokens") }
    let count = configuration.vocabularySize
    if let bad = ids.first(where: { $0 < 0 || $0 >= count }) {
      throw .input("token id \(bad) is outside the vocabulary of \(count)")
    }
    let virtual = prompt?.length ?? 0
    if let limit = configuration.maximumLength, ids.count + virtual > limit {
      let more = virtual > 0 ? " behind \(virtual) virtual ones" : ""
      throw .input("\(ids.count) tokens\(more) are more than the model's limit of \(limit)")
    }
  }
}
