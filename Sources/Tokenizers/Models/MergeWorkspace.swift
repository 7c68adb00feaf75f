/// The symbols of one word while its merges are applied: lowest rank first, ties leftmost.
struct MergeWorkspace {
  /// The symbols of the word before and, without holes, after merging.
  private(set) var symbols: [Int32] = []
  /// How many bytes of the word each symbol stands for; empty unless measured.
  private(set) var lengths: [Int32] = []
  private var measures = false

  /// Up to this many symbols a linear search for the best pair beats a heap.
  private static let linearLimit = 40

  private var ranks: [Int32] = []
  private var results: [Int32] = []

  /// Begins a word.
  mutating func reset(measures: Bool) {
    self.measures = measures
    symbols.removeAll(keepingCapacity: true)
    lengths.removeAll(keepingCapacity: true)
  }

  @inline(__always)
  mutating func append(_ symbol: Int32, length: Int) {
    symbols.append(symbol)
    if measures { lengths.append(Int32(truncatingIfNeeded: length)) }
  }

  /// Applies all merges to `symbols`.
  ///
  /// - Parameters:
  ///   - merges: The merges.
  ///   - dropout: How likely it is that a merge is put off until another one was applied.
  mutating func mergeAll(with merges: MergeTable, dropout: Float = 0) {
    if symbols.count < 2 { return }
    if symbols.count <= Self.linearLimit && !measures && dropout == 0 {
      mergeShort(with: merges)
    } else {
      mergeLong(with: merges, dropout: dropout)
    }
  }

  private mutating func mergeShort(with merges: MergeTable) {
    var count = symbols.count
    if ranks.count < count {
      ranks = [Int32](repeating: MergeTable.noRank, count: Self.linearLimit + 1)
      results = ranks
    }
    symbols.withUnsafeMutableBufferPointer { symbols in
      ranks.withUnsafeMutableBufferPointer { ranks in
        results.withUnsafeMutableBufferPointer { results in
          for index in 0..<count - 1 {
            (ranks[index], results[index]) = merges.merge(symbols[index], symbols[index + 1])
          }
          while count > 1 {
            var best = 0
            for index in 1..<max(1, count - 1) where ranks[index] < ranks[best] { best = index }
            if ranks[best] == MergeTable.noRank { break }
            symbols[best] = results[best]
            count -= 1
            for index in best + 1..<max(best + 1, count) {
              symbols[index] = symbols[index + 1]
            }
            for index in best..<max(best, count - 1) {
              ranks[index] = ranks[index + 1]
              results[index] = results[index + 1]
            }
            if best + 1 < count {
              (ranks[best], results[best]) = merges.merge(symbols[best], symbols[best + 1])
            }
            if best > 0 {
              (ranks[best - 1], results[best - 1]) = merges.merge(symbols[best - 1], symbols[best])
            }
          }
        }
      }
    }
    symbols.removeLast(symbols.count - count)
  }

  /// A heap of candidate pairs over a doubly linked list of symbols: n log n in the word's length.
  private mutating func mergeLong(with merges: MergeTable, dropout: Float) {
    let count = symbols.count
    var next = (0..<count).map { $0 + 1 }
    var previous = (0..<count).map { $0 - 1 }
    var alive = [Bool](repeating: true, count: count)
    var heap = CandidateHeap()
    func propose(_ left: Int, _ right: Int) {
      let (rank, result) = merges.merge(symbols[left], symbols[right])
      guard rank != MergeTable.noRank else { return }
      heap.push(
        Candidate(
          rank: rank, position: left, left: symbols[left], right: symbols[right], result: result))
    }
    for index in 0..<count - 1 { propose(index, index + 1) }
    var putOff: [Candidate] = []
    while let candidate = heap.pop() {
      if dropout > 0 {
        if Float.random(in: 0..<1) < dropout {
          putOff.append(candidate)
          continue
        }
        for candidate in putOff { heap.push(candidate) }
        putOff.removeAll(keepingCapacity: true)
      }
      let left = candidate.position
      // A candidate is stale when one of its symbols was merged in the meantime.
      guard alive[left], symbols[left] == candidate.left else { continue }
      let right = next[left]
      guard right < count, symbols[right] == candidate.right else { continue }
      symbols[left] = candidate.result
      if measures { lengths[left] += lengths[right] }
      alive[right] = false
      next[left] = next[right]
      if next[left] < count {
        previous[next[left]] = left
        propose(left, next[left])
      }
      if previous[left] >= 0 { propose(previous[left], left) }
    }
    var kept = 0
    for index in 0..<count where alive[index] {
      symbols[kept] = symbols[index]
      if measures { lengths[kept] = lengths[index] }
      kept += 1
    }
    symbols.removeLast(count - kept)
    if measures { lengths.removeLast(count - kept) }
  }
}

private struct Candidate {
  var rank: Int32
  var position: Int
  var left: Int32
  var right: Int32
  var result: Int32

  func precedes(_ other: Candidate) -> Bool {
    rank != other.rank ? rank < other.rank : position < other.position
  }
}

/// A binary heap with the candidate of the lowest rank, then the leftmost, on top.
private struct CandidateHeap {
  private var items: [Candidate] = []

  mutating func push(_ item: Candidate) {
    items.append(item)
    var child = items.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard items[child].precedes(items[parent]) else { return }
      items.swapAt(child, parent)
      child = parent
    }
  }

  mutating func pop() -> Candidate? {
    guard let top = items.first else { return nil }
    let last = items.removeLast()
    guard !items.isEmpty else { return top }
    items[0] = last
    var parent = 0
    while true {
      var child = 2 * parent + 1
      guard child < items.count else { return top }
      if child + 1 < items.count && items[child + 1].precedes(items[child]) { child += 1 }
      guard items[child].precedes(items[parent]) else { return top }
      items.swapAt(child, parent)
      parent = child
    }
  }
}
