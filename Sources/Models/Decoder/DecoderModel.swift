public import Layers
public import Tensors

/// A Llama-like decoder without its head.
public final class DecoderModel: Module {
  /// Shape and switches.
  public let configuration: DecoderConfiguration
  /// Token embeddings.
  public let embedding: Embedding
  let layers: [DecoderLayer]
  let norm: RMSNorm
  /// Whether blocks are computed again in the backward pass instead of being kept.
  public var checkpointsActivations = false
  /// The generator that dropout inside blocks draws from, so that computing again gives the same.
  public var dropoutGenerator: Generator?
  /// What takes part in every pass beside the blocks; nil for nothing.
  public var companion: (any PassCompanion)?

  init(
    configuration: DecoderConfiguration, embedding: Embedding, layers: [DecoderLayer],
    norm: RMSNorm
  ) {
    self.configuration = configuration
    self.embedding = embedding
    self.layers = layers
    self.norm = norm
  }

  /// `embed_tokens`, `layers.N` and `norm`.
  public var children: [(name: String, module: any Module)] {
    [("embed_tokens", embedding)]
      + layers.enumerated().map { ("layers.\($0.offset)", $0.element) } + [("norm", norm)]
  }

  /// Hidden states after the last norm.
  ///
  /// - Parameters:
  ///   - batch: Ids, positions and masks; with a cache, only the new positions.
  ///   - cache: Keys and values of earlier positions; extended by this call.
  /// - Returns: `[batch, length, hiddenSize]`.
  public func callAsFunction(_ batch: DecoderInput, cache: KeyValueCache? = nil) -> Tensor {
    var x = embedding(batch.ids)  // [B, L, hidden]
    let (length, past) = (batch.ids.size(1), cache?.length ?? 0)
    let positions =
      batch.positions
      ?? Tensor.arange(past, past + length, device: batch.ids.device).unsqueezed(0)
    let (cosine, sine) = configuration.rope.tables(
      positions: positions, size: configuration.headSize, dtype: x.dtype)
    var masks: [Int?: AttentionMask] = [:]
    for window in Set(configuration.slidingWindows) {
      masks[window] = .decoder(
        length: length, keyLength: past + length, keyMask: batch.mask,
        sequenceIDs: batch.sequenceIDs, window: window, device: x.device)
    }
    let context = DecoderContext(
      cosine: cosine, sine: sine, masks: masks, windows: configuration.slidingWindows, cache: cache)
    let companion = companion
    var carried = companion?.begin(batch, cache: cache)
    for (index, layer) in layers.enumerated() {
      func block(_ inputs: [Tensor]) -> [Tensor] {
        guard inputs.count > 1, let companion else {
          return [layer(inputs[0], context, layer: index)]
        }
        return companion.run(index, inputs[0], carried: inputs[1]) {
          layer($0, context, layer: index)
        }
      }
      var states = [x] + (carried.map { [$0] } ?? [])
      if checkpointsActivations && isRecordingGradients {
        states = checkpointed(
          states,
          parameters: layer.parameters().map(\.parameter)
            + (companion?.parameters(ofBlock: index) ?? []),
          generator: dropoutGenerator, block)
      } else {
        states = block(states)
      }
      x = states[0]
      if states.count > 1 { carried = states[1] }
    }
    cache?.advance(by: length)
    return norm(x)
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
