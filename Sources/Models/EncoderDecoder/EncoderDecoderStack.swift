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
  var dropoutGenerator: Generator?
  private let configuration: EncoderDecoderConfiguration

  init(
    tokens: Embedding, positions: Embedding?, embeddingNorm: (any Normalization)?,
    layers: [EncoderDecoderLayer], finalNorm: (any Normalization)?, isDecoder: Bool,
    _ configuration: EncoderDecoderConfiguration
  ) {
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
  ///   - cache: Keys and values of earlier positions; extended by this call.
  /// - Returns: `[batch, length, hiddenSize]`.
  func callAsFunction(
    _ ids: Tensor, mask: Tensor?, states: Tensor? = nil, statesMask: Tensor? = nil,
    cache: EncoderDecoderCache? = nil
  ) -> Tensor {
    let past = cache?.length ?? 0
    let (length, device) = (ids.size(1), ids.device)
    let keyLength = past + length
    var x = embedded(ids, past: past)
    var own: AttentionMask =
      isDecoder
      ? .decoder(length: length, keyLength: keyLength, keyMask: mask, device: device)
      : .encoder(length: length, mask: mask, device: device)
    if let bias = relativeBias(length, keyLength, device) { own = own.adding(bias) }
    let cross = AttentionMask.encoder(
      length: states?.size(1) ?? 0, mask: statesMask, device: device)
    for (index, layer) in layers.enumerated() {
      if checkpointsActivations, cache == nil, isRecordingGradients {
        x = again(layer, x, own, states, cross)
        continue
      }
      var gathered: (key: Tensor, value: Tensor)?
      if let cache, isDecoder {
        gathered = cache.states(layer: index) {
          guard let states else { preconditionFailure("decode: neither states nor a cache") }
          return layer.crossKeysAndValues(states)
        }
      } else if let states {
        gathered = layer.crossKeysAndValues(states)
      }
      x = layer(x, own, gathered: gathered, crossMask: cross) { key, value in
        cache?.own.append(layer: index, key: key, value: value) ?? (key, value)
      }
    }
    cache?.own.advance(by: length)
    return finalNorm.map { $0(x).to(tokens.table.dtype) } ?? x
  }

  /// A block whose activations are not kept.
  private func again(
    _ layer: EncoderDecoderLayer, _ x: Tensor, _ mask: AttentionMask, _ states: Tensor?,
    _ cross: AttentionMask
  ) -> Tensor {
    // What gradients go back to has to be an input: states, and numbers for distances.
    let inputs = [x] + [states, mask.scores].compactMap { $0 }
    return checkpointed(
      inputs, parameters: layer.parameters().map(\.parameter), generator: dropoutGenerator
    ) { inputs in
      let states = states == nil ? nil : inputs[1]
      let own = mask.scores == nil ? mask : AttentionMask(scores: inputs[inputs.count - 1])
      return [
        layer(
          inputs[0], own, gathered: states.map(layer.crossKeysAndValues), crossMask: cross)
      ]
    }[0]
  }

  private func embedded(_ ids: Tensor, past: Int) -> Tensor {
    var x = tokens(ids)
    if configuration.embeddingScale != 1 { x = x * configuration.embeddingScale }
    if let positions, case .learned(_, let unused) = configuration.positions {
      let first = past + unused
      let places = Tensor.arange(first, first + ids.size(1), device: ids.device)
      x = x + positions(places.unsqueezed(0))
    }
    return embeddingNorm.map { $0(x) } ?? x
  }

  /// Numbers for the distances of the first block, which serve all, `[1, heads, length, keyLength]`.
  private func relativeBias(_ length: Int, _ keyLength: Int, _ device: Device) -> Tensor? {
    guard case .relative(let classes) = configuration.positions,
      let first = layers.first?.selfAttention, let table = first.relativeBias
    else { return nil }
    let buckets = classes.buckets(
      length: length, keyLength: keyLength, isBidirectional: !isDecoder, device: device)
    return table(buckets).permuted([2, 0, 1]).unsqueezed(0)
      .to(first.query.projection.dtype)
  }
}
