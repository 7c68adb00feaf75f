/// The ids of words that were encoded before, found by the words' bytes.
///
/// The cache is emptied when it is full: a text in another language fills it anew.
final class WordCache {
  private struct Entry {
    var hash: UInt64
    var keyStart: Int32
    var keyCount: Int32
    var idStart: Int32
    var idCount: Int32
  }

  /// Longer words are not kept: they hardly ever come again.
  static let longestWord = 128
  private static let slotCount = 1 << 17
  private static let largestCount = slotCount / 2

  private var slots: [Int32]
  private var entries: [Entry] = []
  private var keys: [UInt8] = []
  private var ids: [Int32] = []
  private let seed = UInt64.random(in: .min ... .max)

  init() {
    slots = [Int32](repeating: -1, count: Self.slotCount)
  }

  @inline(__always)
  func hash(of word: UnsafeBufferPointer<UInt8>) -> UInt64 { word.hashed(seed: seed) }

  /// Appends the ids of the word and returns true, or returns false when it is not here.
  @inline(__always)
  func appendIDs(
    of word: UnsafeBufferPointer<UInt8>, hash: UInt64, to result: inout [Int32]
  ) -> Bool {
    let mask = Self.slotCount - 1
    var slot = Int(truncatingIfNeeded: hash) & mask
    while true {
      let index = Int(slots[slot])
      if index < 0 { return false }
      let entry = entries[index]
      if entry.hash == hash && matches(entry, word) {
        let start = Int(entry.idStart)
        if entry.idCount == 1 {
          result.append(ids[start])
        } else {
          result.append(contentsOf: ids[start..<start + Int(entry.idCount)])
        }
        return true
      }
      slot = (slot + 1) & mask
    }
  }

  /// Remembers the ids of a word that is not here yet.
  func insert(_ word: UnsafeBufferPointer<UInt8>, hash: UInt64, ids new: ArraySlice<Int32>) {
    if entries.count >= Self.largestCount { removeAll() }
    let mask = Self.slotCount - 1
    var slot = Int(truncatingIfNeeded: hash) & mask
    while slots[slot] >= 0 { slot = (slot + 1) & mask }
    slots[slot] = Int32(entries.count)
    entries.append(
      Entry(
        hash: hash, keyStart: Int32(keys.count), keyCount: Int32(word.count),
        idStart: Int32(ids.count), idCount: Int32(new.count)))
    keys.append(contentsOf: word)
    ids.append(contentsOf: new)
  }

  @inline(__always)
  private func matches(_ entry: Entry, _ word: UnsafeBufferPointer<UInt8>) -> Bool {
    keys.withUnsafeBufferPointer {
      $0.slice(Int(entry.keyStart), Int(entry.keyStart + entry.keyCount)).isEqual(to: word)
    }
  }

  private func removeAll() {
    slots = [Int32](repeating: -1, count: Self.slotCount)
    entries.removeAll(keepingCapacity: true)
    keys.removeAll(keepingCapacity: true)
    ids.removeAll(keepingCapacity: true)
  }
}
