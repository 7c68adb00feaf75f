public import Tensors

/// Keys and values of a decoder that reads an encoder's states: those of its own positions, which grow,
/// and those of the states, which are computed once.
public final class EncoderDecoderCache {
  /// Keys and values of the decoder's own positions.
  public let own: KeyValueCache
  private var gathered: [(key: Tensor, value: Tensor)?]

  /// Makes an empty cache.
  ///
  /// - Parameters:
  ///   - layerCount: Blocks of the decoder.
  ///   - capacity: Most positions of the decoder, in tokens.
  public init(layerCount: Int, capacity: Int) {
    own = KeyValueCache(layerCount: layerCount, capacity: capacity)
    gathered = Array(repeating: nil, count: layerCount)
  }

  /// Positions of the decoder that it holds.
  public var length: Int { own.length }

  /// Whether it holds keys and values of the encoder's states, so that the states are not asked again.
  public var holdsStates: Bool { gathered.allSatisfy { $0 != nil } }

  /// A block's keys and values of the encoder's states, made at the first use.
  func states(layer: Int, make: () -> (key: Tensor, value: Tensor)) -> (key: Tensor, value: Tensor)
  {
    if let found = gathered[layer] { return found }
    let made = make()
    gathered[layer] = made
    return made
  }

  /// Keeps some rows of the batch, in a new order; one row may become several.
  ///
  /// - Parameter rows: int64 indices of the rows to keep.
  public func keep(rows: Tensor) {
    own.keep(rows: rows)
    gathered = gathered.map { entry in
      entry.map { ($0.key.selecting(0, rows), $0.value.selecting(0, rows)) }
    }
  }
}
