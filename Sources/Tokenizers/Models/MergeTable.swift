/// The merges of a byte-pair model: a rank and a result for two adjacent symbols.
struct MergeTable: Sendable {
  /// The rank of a pair that does not merge.
  static let noRank = Int32.max

  private struct Entry {
    var pair: UInt64
    var rank: Int32
    var result: Int32
  }

  private static let emptyPair = UInt64.max
  private var entries: [Entry]
  private var shift: UInt64
  private(set) var count = 0

  init(capacity: Int) {
    var bits: UInt64 = 4
    while 1 << bits < capacity * 2 { bits += 1 }
    shift = 64 - bits
    entries = Array(
      repeating: Entry(pair: Self.emptyPair, rank: Self.noRank, result: 0), count: 1 << bits)
  }

  /// Adds a merge.
  ///
  /// At most `capacity` pairs may be added. A later merge of a pair replaces it.
  mutating func insert(_ left: Int32, _ right: Int32, rank: Int32, result: Int32) {
    let pair = Self.pair(left, right)
    let slot = slot(of: pair)
    if entries[slot].pair == Self.emptyPair { count += 1 }
    entries[slot] = Entry(pair: pair, rank: rank, result: result)
  }

  /// The rank of the merge of two symbols, or `noRank`, and the symbol that it makes.
  @inline(__always)
  func merge(_ left: Int32, _ right: Int32) -> (rank: Int32, result: Int32) {
    let entry = entries[slot(of: Self.pair(left, right))]
    return (entry.rank, entry.result)
  }

  @inline(__always)
  private static func pair(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  @inline(__always)
  private func slot(of pair: UInt64) -> Int {
    let mask = entries.count - 1
    var hash = pair &* 0x9E37_79B9_7F4A_7C15
    hash ^= hash >> 32
    var slot = Int(truncatingIfNeeded: (hash &* 0xD6E8_FEB8_6659_FD93) >> shift)
    while entries[slot].pair != pair && entries[slot].pair != Self.emptyPair {
      slot = (slot + 1) & mask
    }
    return slot
  }
}
