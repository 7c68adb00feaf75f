public import Tensors

/// Keys and values of positions that a decoder has seen, for each layer.
public final class KeyValueCache {
  /// Most positions it can hold.
  public private(set) var capacity: Int
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

  /// Copies the first positions of a cache, with room for more.
  init(copying other: KeyValueCache, count: Int, capacity: Int) {
    precondition(count <= other.length, "KeyValueCache: \(count) of \(other.length) positions")
    self.capacity = max(count, capacity)
    length = count
    keys = other.keys
    values = other.values
    keys = keys.map { copied($0) }
    values = values.map { copied($0) }
  }

  /// What a store holds, in a new one of the present capacity.
  private func copied(_ store: Tensor?) -> Tensor? {
    guard let store else { return nil }
    return resized(store, to: held(for: length))
  }

  /// Positions that are allocated where so many are used: a capacity that is much larger, such as the
  /// limit of a model that a text need not reach, is not taken at once.
  private func held(for count: Int) -> Int { min(capacity, max(2 * count, 4096)) }

  private func resized(_ store: Tensor, to count: Int) -> Tensor {
    var shape = store.shape
    shape[2] = count
    let room = Tensor.empty(shape, dtype: store.dtype, device: store.device)
    room.narrowed(2, 0..<length).copyInPlace(from: store.narrowed(2, 0..<length))
    return room
  }

  /// Appends one layer's new keys and values and returns all of them.
  ///
  /// `length` changes only with ``advance(by:)``, after every layer.
  func append(layer: Int, key: Tensor, value: Tensor) -> (key: Tensor, value: Tensor) {
    let added = key.size(2)
    let room = room(
      for: added, layer: layer, key: key.shape, value: value.shape, dtype: key.dtype,
      device: key.device)
    func put(_ tensor: Tensor, _ room: Tensor) -> Tensor {
      room.narrowed(2, length..<length + added).copyInPlace(from: tensor)
      return room.narrowed(2, 0..<length + added)
    }
    return (put(key, room.keys), put(value, room.values))
  }

  /// One layer's memory of keys and values, for what is written there directly.
  ///
  /// - Parameters:
  ///   - count: How many positions are to be added.
  ///   - layer: The block.
  ///   - key: A shape of keys: all but n is taken from it, where there is no memory yet.
  ///   - value: The same of values.
  ///   - dtype: Their type.
  ///   - device: Where they live.
  /// - Returns: `[batch, key/value heads, n, headSize]` each, n at least ``length`` and `count` more.
  func room(
    for count: Int, layer: Int, key: [Int], value: [Int], dtype: DType, device: Device
  ) -> (keys: Tensor, values: Tensor) {
    let wanted = length + count
    precondition(wanted <= capacity, "KeyValueCache: \(wanted) > \(capacity)")
    func made(_ shape: [Int], _ store: inout [Tensor?]) -> Tensor {
      var shape = shape
      shape[2] = held(for: wanted)
      var room = store[layer] ?? Tensor.empty(shape, dtype: dtype, device: device)
      if room.size(2) < wanted { room = resized(room, to: shape[2]) }
      store[layer] = room
      return room
    }
    return (made(key, &keys), made(value, &values))
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

  /// Forgets all but the first positions.
  ///
  /// - Parameter count: How many positions stay, at most ``length``.
  public func truncate(to count: Int) {
    precondition(0...length ~= count, "KeyValueCache: \(count) of \(length) positions")
    companion?.truncate(to: count)
    length = count
  }

  /// Makes room for more positions.
  ///
  /// - Parameter capacity: Most positions from now on, where that is more than before.
  public func reserve(_ capacity: Int) {
    companion?.reserve(capacity)
    guard capacity > self.capacity else { return }
    self.capacity = capacity
    keys = keys.map { copied($0) }
    values = values.map { copied($0) }
  }

  /// Keeps some rows of the batch, in a new order; one row may become several.
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
