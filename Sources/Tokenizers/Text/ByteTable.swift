/// Byte strings numbered in the order of their insertion, found in constant time.
///
/// Swift strings cannot be the keys of a vocabulary: their equality is canonical equivalence, and
/// vocabularies hold both spellings of many characters.
struct ByteTable: Sendable {
  private var arena: [UInt8] = []
  /// `ends[i]` is where the bytes of entry `i` end in the arena.
  private var ends: [Int] = []
  /// Open addressing: an entry plus one, or 0.
  private var slots: [UInt32]
  private let seed: UInt64

  init(capacity: Int = 0) {
    var size = 16
    while size < capacity * 2 { size *= 2 }
    slots = [UInt32](repeating: 0, count: size)
    ends.reserveCapacity(capacity)
    arena.reserveCapacity(capacity * 8)
    seed = UInt64.random(in: .min ... .max)
  }

  var count: Int { ends.count }

  /// Adds a byte string and returns its entry, which is the old one when it is there already.
  mutating func insert(_ key: UnsafeBufferPointer<UInt8>) -> (entry: Int, isNew: Bool) {
    let slot = slot(of: key)
    if slots[slot] != 0 { return (Int(slots[slot]) - 1, false) }
    arena.append(contentsOf: key)
    ends.append(arena.count)
    slots[slot] = UInt32(ends.count)
    if ends.count * 2 > slots.count { grow() }
    return (ends.count - 1, true)
  }

  func entry(of key: UnsafeBufferPointer<UInt8>) -> Int? {
    let found = slots[slot(of: key)]
    return found == 0 ? nil : Int(found) - 1
  }

  func bytes(of entry: Int) -> ArraySlice<UInt8> { arena[range(of: entry)] }

  func withBytes<Result>(
    of entry: Int, _ body: (UnsafeBufferPointer<UInt8>) -> Result
  ) -> Result {
    let range = range(of: entry)
    return arena.withUnsafeBufferPointer { body(UnsafeBufferPointer(rebasing: $0[range])) }
  }

  private func range(of entry: Int) -> Range<Int> {
    (entry == 0 ? 0 : ends[entry - 1])..<ends[entry]
  }

  /// The slot that holds the key, or the empty one where it belongs.
  private func slot(of key: UnsafeBufferPointer<UInt8>) -> Int {
    let mask = slots.count - 1
    var slot = Int(truncatingIfNeeded: key.hashed(seed: seed)) & mask
    return arena.withUnsafeBufferPointer { arena in
      while slots[slot] != 0 {
        let range = range(of: Int(slots[slot]) - 1)
        if UnsafeBufferPointer(rebasing: arena[range]).isEqual(to: key) { break }
        slot = (slot + 1) & mask
      }
      return slot
    }
  }

  private mutating func grow() {
    slots = [UInt32](repeating: 0, count: slots.count * 2)
    for entry in ends.indices {
      let slot = withBytes(of: entry) { self.slot(of: $0) }
      slots[slot] = UInt32(entry + 1)
    }
  }
}
