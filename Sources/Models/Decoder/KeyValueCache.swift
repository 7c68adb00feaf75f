public import Tensors

/// Keys and values of positions that a decoder has seen, for each layer.
public final class KeyValueCache {
  /// Most positions it can hold.
  public let capacity: Int
  /// Positions that it holds.
  public private(set) var length = 0
  /// Another cache of the same positions, for what goes through them beside the model.
  public private(set) var companion: KeyValueCache?
  private var keys: [Tensor?]
  private var values: [Tensor?]

  /// Makes an empty cache.
  ///
  /// - Parameters:
  ///   - layerCount: Blocks of the model.
  ///   - capacity: Most positions, in tokens; memory is taken at the first use.
  public init(layerCount: Int, capacity: Int) {
    self.capacity = capacity
    keys = Array(repeating: nil, count: layerCount)
    values = Array(repeating: nil, count: layerCount)
  }

  /// Appends one layer's new keys and values and returns all of them.
  ///
  /// `length` changes only with ``advance(by:)``, after every layer.
  func append(layer: Int, key: Tensor, value: Tensor) -> (key: Tensor, value: Tensor) {
    let added = key.size(2)
    precondition(length + added <= capacity, "KeyValueCache: \(length + added) > \(capacity)")
    func put(_ tensor: Tensor, _ store: inout [Tensor?]) -> Tensor {
      var shape = tensor.shape
      shape[2] = capacity
      let room = store[layer] ?? Tensor.empty(shape, dtype: tensor.dtype, device: tensor.device)
      store[layer] = room
      room.narrowed(2, length..<length + added).copyInPlace(from: tensor)
      return room.narrowed(2, 0..<length + added)
    }
    return (put(key, &keys), put(value, &values))
  }

  func advance(by count: Int) { length += count }

  /// What one layer keeps of the first positions.
  ///
  /// - Parameters:
  ///   - count: How many positions, at most ``length``.
  ///   - layer: The block.
  /// - Returns: Keys and values, `[batch, key/value heads, count, headSize]` each.
  public func first(_ count: Int, ofLayer layer: Int) -> (keys: Tensor, values: Tensor) {
    guard count <= length, let keys = keys[layer], let values = values[layer] else {
      preconditionFailure("KeyValueCache: \(count) of \(length) positions")
    }
    return (keys.narrowed(2, 0..<count), values.narrowed(2, 0..<count))
  }

  /// The cache beside this one, made at the first use.
  ///
  /// - Parameter layerCount: Blocks of what goes beside the model.
  /// - Returns: A cache with room for as many positions.
  public func companion(layerCount: Int) -> KeyValueCache {
    if let companion { return companion }
    precondition(
      length == 0, "KeyValueCache: an adapter began to act in the midst of a text of \(length)")
    let made = KeyValueCache(layerCount: layerCount, capacity: capacity)
    companion = made
    return made
  }

  /// Keeps some rows of the batch, in a new order.
  ///
  /// - Parameter rows: int64 indices of the rows to keep.
  public func keep(rows: Tensor) {
    companion?.keep(rows: rows)
    for layer in keys.indices {
      keys[layer] = keys[layer]?.selecting(0, rows)
      values[layer] = values[layer]?.selecting(0, rows)
    }
  }
}
