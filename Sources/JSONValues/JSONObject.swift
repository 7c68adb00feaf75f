/// The pairs of a JSON object in their order, found by key in constant time.
///
/// Keys are compared by their UTF-8 bytes. When a key is set twice, the later value replaces the
/// earlier one at the earlier one's place, as in a Python dictionary.
public struct JSONObject: Sendable {
  private var pairs: [(key: String, value: JSON)] = []
  // Open addressing: the position of a pair plus one, or 0. Empty while there are few pairs.
  private var slots: [UInt32] = []

  private static let linearLimit = 8

  /// Creates an object without keys.
  public init() {}

  /// Creates an object from pairs; a later duplicate of a key wins.
  ///
  /// - Parameter pairs: Keys and values in the wanted order.
  public init(_ pairs: [(key: String, value: JSON)]) {
    reserveCapacity(pairs.count)
    for pair in pairs { set(pair.key, to: pair.value) }
  }

  /// The keys in order.
  public var keys: [String] { pairs.map(\.key) }

  /// The number of keys.
  public var count: Int { pairs.count }

  /// The value of a key; setting nil removes the key.
  ///
  /// - Parameter key: The key, compared by its bytes.
  /// - Returns: The value, or nil when there is no such key.
  public subscript(key: String) -> JSON? {
    get { position(of: key).map { pairs[$0].value } }
    set {
      if let newValue {
        set(key, to: newValue)
      } else if let position = position(of: key) {
        pairs.remove(at: position)
        rebuildSlots(for: pairs.count)
      }
    }
  }

  mutating func reserveCapacity(_ capacity: Int) {
    pairs.reserveCapacity(capacity)
    if capacity > Self.linearLimit { rebuildSlots(for: capacity) }
  }

  /// Sets a value and says whether the key is new.
  @discardableResult
  mutating func set(_ key: String, to value: JSON) -> Bool {
    if slots.isEmpty {
      if let position = position(of: key) {
        pairs[position].value = value
        return false
      }
      pairs.append((key, value))
      if pairs.count > Self.linearLimit { rebuildSlots(for: pairs.count) }
      return true
    }
    let (slot, position) = find(key)
    if let position {
      pairs[position].value = value
      return false
    }
    pairs.append((key, value))
    slots[slot] = UInt32(pairs.count)
    if pairs.count * 2 > slots.count { rebuildSlots(for: pairs.count * 2) }
    return true
  }

  private func position(of key: String) -> Int? {
    slots.isEmpty ? pairs.firstIndex { sameBytes($0.key, key) } : find(key).position
  }

  /// The slot where the key is or belongs, and the position of its pair.
  private func find(_ key: String) -> (slot: Int, position: Int?) {
    let mask = slots.count - 1
    var slot = hashOfBytes(key) & mask
    while slots[slot] != 0 {
      let position = Int(slots[slot]) - 1
      if sameBytes(pairs[position].key, key) { return (slot, position) }
      slot = (slot + 1) & mask
    }
    return (slot, nil)
  }

  private mutating func rebuildSlots(for capacity: Int) {
    guard capacity > Self.linearLimit else {
      slots = []
      return
    }
    var size = 32
    while size < capacity * 2 { size *= 2 }
    slots = [UInt32](repeating: 0, count: size)
    for position in pairs.indices { slots[find(pairs[position].key).slot] = UInt32(position + 1) }
  }
}

extension JSONObject: Sequence {
  /// Iterates over the pairs in order.
  ///
  /// - Returns: An iterator over keys and values.
  public func makeIterator() -> IndexingIterator<[(key: String, value: JSON)]> {
    pairs.makeIterator()
  }

  /// The number of keys.
  public var underestimatedCount: Int { pairs.count }
}

extension JSONObject: Equatable {
  /// Compares keys and values, whatever their order.
  ///
  /// - Parameters:
  ///   - left: An object.
  ///   - right: Another object.
  /// - Returns: Whether both have the same keys with equal values.
  public static func == (left: JSONObject, right: JSONObject) -> Bool {
    left.count == right.count && left.pairs.allSatisfy { right[$0.key] == $0.value }
  }
}

private func sameBytes(_ left: String, _ right: String) -> Bool {
  let left = left.utf8
  let right = right.utf8
  return left.count == right.count && left.elementsEqual(right)
}

private func hashOfBytes(_ text: String) -> Int {
  var text = text
  var hasher = Hasher()
  text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
  return hasher.finalize()
}
