import Layers
import Tensors

/// Texts that a decoder behind an encoder is in the midst of, with a cache of keys and values.
final class EncoderDecoderState: DecodingState {
  private let model: EncoderDecoderForConditionalGeneration
  private let cache: EncoderDecoderCache
  private let source: Tensor
  private var mask: Tensor?
  /// Number of the source that each row belongs to.
  private var origins: [Int]

  /// `source` is int64 `[rows, length]`, `mask` zero where it is padding; what is written can be of
  /// any length, but its cache begins with room for `capacity` tokens.
  init(
    _ model: EncoderDecoderForConditionalGeneration, source: Tensor, mask: Tensor?, capacity: Int
  ) {
    self.model = model
    self.source = source
    self.mask = mask
    cache = model.makeCache(capacity: capacity)
    origins = Array(0..<source.size(0))
  }

  var vocabularySize: Int { model.configuration.vocabularySize }
  var device: Device { model.device }

  func scores(after ids: Tensor) -> Tensor {
    let needed = cache.length + ids.size(1)
    if needed > cache.own.capacity { cache.own.reserve(max(needed, 2 * cache.own.capacity)) }
    // What blocks make of the encoder's states stays in the cache.
    let states =
      cache.holdsStates ? nil : Runtime.withFastProducts { model.encode(source, mask: mask) }
    return FewRows.$arePreferred.withValue(true) {
      let hidden = model.decode(ids, states: states, mask: mask, cache: cache)
      let last = hidden.narrowed(1, hidden.size(1) - 1..<hidden.size(1))
      return model.logits(last).reshaped([ids.size(0), -1])
    }
  }

  func keep(rows: [Int]) {
    guard rows != Array(origins.indices) else { return }
    let places = Tensor(rows).to(device: device)
    let chosen = rows.map { origins[$0] }
    // Beams of one source change places among each other; what they read stays.
    if chosen == origins {
      cache.own.keep(rows: places)
    } else {
      cache.keep(rows: places)
      mask = mask?.selecting(0, places)
    }
    origins = chosen
    model.rowObserver?(rows)
  }
}
