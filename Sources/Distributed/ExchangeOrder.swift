import Tensors

/// The order in which buckets of gradients travel, the same on all processes: those of the last blocks
/// first, as a backward pass leaves them first, then those of no block.
///
/// A process without a part in the last round keeps the order, too, though it has no pass.
struct ExchangeOrder {
  /// Numbers of buckets.
  let sequence: [Int]
  /// For each bucket the blocks that have to be passed back before it is whole; nil for one of no block,
  /// which is whole behind the pass.
  let blocks: [Set<Int>?]

  /// Orders buckets.
  ///
  /// - Parameters:
  ///   - buckets: The buckets.
  ///   - blocks: For each tensor the block that it is in; empty for none.
  ///   - joined: The same with the lowest of those that share buckets.
  init(_ buckets: FlatBuckets, blocks: [Int?], joined: [Int?]) {
    var members: [Int: Set<Int>] = [:]
    for (block, group) in zip(blocks, joined) {
      if let block, let group { members[group, default: []].insert(block) }
    }
    self.blocks = buckets.buckets.map { bucket in bucket.block.flatMap { members[$0] } }
    sequence = buckets.buckets.indices.sorted { first, second in
      let (a, b) = (buckets.buckets[first].block ?? -1, buckets.buckets[second].block ?? -1)
      return a == b ? first < second : a > b
    }
  }

  /// An eighth of all that is in blocks is a message, so that few messages carry it and most of them travel
  /// while the pass goes on; but no less than this.
  static let leastBytes = 256 << 10

  /// Joins small blocks that follow each other.
  ///
  /// - Parameters:
  ///   - blocks: For each tensor the block that it is in; nil for none.
  ///   - bytes: Of each tensor.
  /// - Returns: For each tensor the lowest of the blocks that its own shares messages with.
  static func joined(_ blocks: [Int?], _ bytes: [Int]) -> [Int?] {
    var sizes: [Int: Int] = [:]
    for (block, count) in zip(blocks, bytes) {
      if let block { sizes[block, default: 0] += count }
    }
    let wanted = max(leastBytes, sizes.values.reduce(0, +) / 8)
    var groups: [[Int]] = []
    var open = 0
    for (block, count) in sizes.sorted(by: { $0.key > $1.key }) {
      if groups.isEmpty || open >= wanted || open + count > FlatBuckets.limit {
        groups.append([])
        open = 0
      }
      groups[groups.count - 1].append(block)
      open += count
    }
    var lowest: [Int: Int] = [:]
    for group in groups { for block in group { lowest[block] = group.last } }
    return blocks.map { $0.flatMap { lowest[$0] } }
  }
}
