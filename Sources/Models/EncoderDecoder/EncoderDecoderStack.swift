import Layers
import Tensors

/// The blocks that read or those that write, with their embeddings.
final class EncoderDecoderStack: Module {
  let tokens: Embedding
  let positions: Embedding?
  let embeddingNorm: (any Normalization)?
  let layers: [EncoderDecoderLayer]
  let finalNorm: (any Normalization)?
  let isDecoder: Bool
  let children: [(name: String, module: any Module)]
  /// Whether blocks are computed again in the backward pass instead of being kept.
  var checkpointsActivations = false
  /// Dropout of the whole model.
  let dropout: ModelDropout
  private let configuration: EncoderDecoderConfiguration

  init(
    tokens: Embedding, positions: Embedding?, embeddingNorm: (any Normalization)?,
    layers: [EncoderDecoderLayer], finalNorm: (any Normalization)?, isDecoder: Bool,
    dropout: ModelDropout, _ configuration: EncoderDecoderConfiguration
  ) {
    self.dropout = dropout
    self.tokens = tokens
    self.positions = positions
    self.embeddingNorm = embeddingNorm
    self.layers = layers
    self.finalNorm = finalNorm
    self.isDecoder = isDecoder
    self.configuration = configuration
    let names = configuration.names
    var parts: [(name: String, module: any Module)] = [(names.tokens, tokens)]
    if let positions { parts.append((names.positions ?? "", positions)) }
    if let embeddingNorm { parts.append((names.embeddingNorm ?? "", embeddingNorm)) }
    parts += layers.enumerated().map { ("\(names.layers).\($0.offset)", $0.element) }
    if let finalNorm { parts.append((names.finalNorm ?? "", finalNorm)) }
    children = ModuleGroup(parts).children
  }

  /// States behind the last block and norm.
  ///
  /// - Parameters:
  ///   - ids: int64 `[batch, length]`; with a cache, only the new positions.
  ///   - mask: `[batch, keyLength]` over earlier and new positions, or nil.
  ///   - states: The encoder's, `[batch, states, hiddenSize]`, for a decoder.
  ///   - statesMask: `[batch, states]`, or nil.
  ///   - virtual: `[batch, n, hiddenSize]`, what stands before the row's embeddings, and the table of
  ///     these; nil for nothing and the stack's own.
  ///   - prefix: `[layers, 2, heads, n, headSize]`, keys and values before those of the first positions;
  ///     nil for none.
  ///   - cache: Keys and values of earlier positions; extended by this call.
  ///   - pass: How the model's pass comes to its blocks.
  /// - Returns: `[batch, length, hiddenSize]`.
  func callAsFunction(
    _ ids: Tensor, mask: Tensor?, states: Tensor? = nil, statesMask: Tensor? = nil,
    virtual: (tokens: Tensor, table: Embedding)? = nil, prefix: Tensor? = nil,
    cache: EncoderDecoderCache? = nil, pass: BlockPass
  ) -> Tensor {
    let number = isDecoder ? 1 : 0
    let past = (cache?.length ?? 0) + (prefix?.size(3) ?? 0)
    var x = dropout(
      pass.entry(number) { embedded(ids, virtual: virtual, past: past) },
      configuration.dropout.embeddings)
    if checkpointsActivations && isRecordingGradients { tokens.releaseFileBackedMemory() }
    let (length, device) = (x.size(1), ids.device)
    let keyLength = past + length
    var own: AttentionMask =
      isDecoder
      ? .decoder(length: length, keyLength: keyLength, keyMask: mask, device: device)
      : .encoder(length: length, mask: mask, device: device)
    if let table = relativeTable {
      own = own.adding(pass.entry(number) { relativeBias(table, length, keyLength, device) })
    }
    let cross = AttentionMask.encoder(
      length: states?.size(1) ?? 0, mask: statesMask, device: device)
    for (index, layer) in layers.enumerated() {
      // PEFT 0.21.2 gives the i-th block what stands at 2 i, counted around.
      let before = prefix.map { $0.selected(0, 2 * index % $0.size(0)).to(x.dtype) }
      let name = "\(configuration.names.layers).\(index)"
      x =
        pass.block(index, of: number, [x]) { inputs in
          let x = inputs[0]
          if checkpointsActivations, cache == nil, isRecordingGradients {
            return [again(layer, name, x, own, states, cross, before)]
          }
          var gathered: (key: Tensor, value: Tensor)?
          if let cache, isDecoder {
            gathered = cache.states(layer: index) {
              guard let states else { preconditionFailure("decode: neither states nor a cache") }
              return layer.crossKeysAndValues(states)
            }
          } else if let states {
            gathered = withScope(.layer, name) { layer.crossKeysAndValues(states) }
          }
          return withScope(.layer, name) {
            [
              layer(x, own, gathered: gathered, crossMask: cross) { key, value in
                let (key, value) = Self.joined(before, key, value)
                return cache?.own.append(layer: index, key: key, value: value) ?? (key, value)
              }
            ]
          }
        }[0]
    }
    cache?.own.advance(by: keyLength - (cache?.length ?? 0))
    return dropout(normed(x, pass), configuration.dropout.states)
  }

  /// States behind the last norm, which the encoder's pass comes to where the decoder's begins.
  private func normed(_ x: Tensor, _ pass: BlockPass) -> Tensor {
    guard let finalNorm else { return x }
    let dtype = tokens.table.dtype
    return isDecoder
      ? pass.exit { finalNorm(x).to(dtype) } : pass.entry(1) { finalNorm(x).to(dtype) }
  }

  /// A block whose activations are not kept.
  private func again(
    _ layer: EncoderDecoderLayer, _ name: String, _ x: Tensor, _ mask: AttentionMask,
    _ states: Tensor?, _ cross: AttentionMask, _ before: Tensor?
  ) -> Tensor {
    // What gradients go back to has to be an input: states, numbers for distances, and a prefix.
    let inputs = [x] + [states, mask.scores, before].compactMap { $0 }
    return checkpointed(
      inputs, parameters: layer.parameters().map(\.parameter), generator: dropout.generator
    ) { inputs in
      var rest = inputs[1...]
      let states = states == nil ? nil : rest.removeFirst()
      let own = mask.scores == nil ? mask : AttentionMask(scores: rest.removeFirst())
      let before = rest.first
      return withScope(.layer, name) {
        [
          layer(
            inputs[0], own, gathered: states.map(layer.crossKeysAndValues), crossMask: cross
          ) { Self.joined(before, $0, $1) }
        ]
      }
    }[0]
  }

  /// Keys and values behind a prefix `[2, heads, n, headSize]`.
  private static func joined(
    _ before: Tensor?, _ key: Tensor, _ value: Tensor
  ) -> (key: Tensor, value: Tensor) {
    guard let before else { return (key, value) }
    func joined(_ index: Int, _ own: Tensor) -> Tensor {
      let rows = before.selected(0, index).unsqueezed(0).expanded([own.size(0), -1, -1, -1])
      return .concatenated([rows, own], dimension: 2)
    }
    return (joined(0, key), joined(1, value))
  }

  /// What tokens are to the blocks, before positions.
  func tokenEmbeddings(_ ids: Tensor, of table: Embedding) -> Tensor {
    let x = table(ids)
    return configuration.embeddingScale == 1 ? x : x * configuration.embeddingScale
  }

  private func embedded(
    _ ids: Tensor, virtual: (tokens: Tensor, table: Embedding)?, past: Int
  ) -> Tensor {
    var x = tokenEmbeddings(ids, of: virtual?.table ?? tokens)
    if let virtual { x = .concatenated([virtual.tokens.to(x.dtype), x], dimension: 1) }
    if let positions, case .learned(_, let unused) = configuration.positions {
      let first = past + unused
      let places = Tensor.arange(first, first + x.size(1), device: ids.device)
      x = x + positions(places.unsqueezed(0))
    }
    return embeddingNorm.map { $0(x) } ?? x
  }

  /// Numbers for the distances of the first block, which serve all, `[1, heads, length, keyLength]`.
  private func relativeBias(
    _ table: Embedding, _ length: Int, _ keyLength: Int, _ device: Device
  ) -> Tensor {
    guard case .relative(let classes) = configuration.positions else {
      preconditionFailure("relativeBias: positions without distances")
    }
    let buckets = classes.buckets(
      length: length, keyLength: keyLength, isBidirectional: !isDecoder, device: device)
    return table(buckets).permuted([2, 0, 1]).unsqueezed(0)
      .to(layers[0].selfAttention.query.projection.dtype)
  }

  /// The table of the first block that all blocks' scores get numbers of; nil for none.
  var relativeTable: Embedding? { layers.first?.selfAttention.relativeBias }
}
