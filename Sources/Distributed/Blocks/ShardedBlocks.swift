import Checkpoints
public import Collectives
public import Layers
public import Tensors

/// Frozen blocks that processes share out (ZeRO, stage 3): each keeps one of N equal ranges of a block's
/// bytes, whatever they mean, and gets the others' for a pass.
///
/// Tensors lie one behind another, each at a multiple of 64 bytes, and the end is filled up to a multiple
/// of 64 N. With B bytes of a block each process keeps B / N; to bring it once, each sends B (N - 1) / N.
/// A thread of its own gathers the next block while the one before is computed; nothing else may be asked
/// of the group meanwhile, which ``BlockResidency/end()`` waits for.
///
/// - Note: Source: Rajbhandari et al. 2020, arXiv 1910.02054.
public final class ShardedBlocks: BlockSource {
  private struct Block: Sendable {
    let number: Int
    let memory: ReservedMemory
    /// All bytes, uint8.
    let whole: Tensor
    /// This process's, uint8.
    let shard: Tensor
  }

  private let group: ProcessGroup
  /// Where files without names have this process's ranges; nil for memory.
  private let directory: String?
  private let pieceByteCount: Int
  private var blocks: [Int: Block] = [:]
  private var gatherings: [Int: Gathering] = [:]

  /// Makes a place for blocks.
  ///
  /// - Parameters:
  ///   - group: The processes, which open the same model.
  ///   - directory: An existing directory of the disk that this process's ranges go to, of which the
  ///     system keeps in memory what is used; nil for memory.
  ///   - pieceByteCount: Most bytes of a range that are sent at once, so that what sending takes besides
  ///     the block stays small where that is a table of embeddings.
  public init(
    _ group: ProcessGroup, directory: String? = nil, pieceByteCount: Int = 4 << 20
  ) {
    self.group = group
    self.directory = directory
    self.pieceByteCount = pieceByteCount
  }

  /// Bytes that this process keeps.
  public var keptByteCount: Int { blocks.values.reduce(0) { $0 + $1.shard.byteCount } }

  /// Keeps this process's range, and reads no more than that of what lies in files.
  ///
  /// - Parameters:
  ///   - tensors: The block's.
  ///   - block: Its number.
  /// - Throws: `CheckpointError` when the directory has no room.
  public func take(_ tensors: [Tensor], of block: Int) throws {
    precondition(blocks[block] == nil, "ShardedBlocks: block \(block) twice")
    let layout = PackedLayout(tensors)
    let unit = PackedLayout.alignment * group.size
    let part = (layout.byteCount + unit - 1) / unit * PackedLayout.alignment
    let shard = try shard(part)
    let own = (group.rank * part)..<((group.rank + 1) * part)
    shard.withUnsafeMutableBytes { layout.copyBytes(own, to: $0) }
    for tensor in tensors + [shard] { tensor.releaseFileBackedMemory() }
    let memory = ReservedMemory(count: part * group.size)
    layout.move(to: memory.tensor)
    blocks[block] = Block(
      number: block, memory: memory,
      whole: memory.tensor(at: 0, shape: [part * group.size], dtype: .uint8), shard: shard)
  }

  /// Room for this process's range of a block, zeros.
  private func shard(_ count: Int) throws -> Tensor {
    guard let directory else { return .zeros([count], dtype: .uint8) }
    let file = try ScratchFile(directory: directory, count: count)
    return .aliasing(
      UnsafeRawPointer(file.bytes.baseAddress.unsafelyUnwrapped), shape: [count], dtype: .uint8,
      owner: file)
  }

  /// Embeddings, head and last norm are shared out as blocks are.
  public var bringsOutside: Bool { true }

  /// Does not happen.
  ///
  /// - Parameter tensors: Ignored.
  public func takeOutside(_ tensors: [Tensor]) {
    preconditionFailure("ShardedBlocks: \(tensors.count) tensors that stay")
  }

  /// Begins to gather the block from all processes.
  ///
  /// - Parameter block: The block.
  public func fetch(_ block: Int) {
    guard let own = blocks[block] else { return }
    gatherings[block] = Gathering(group) { [group, pieceByteCount] in
      own.memory.open()
      try Self.gather(own, group, most: pieceByteCount)
      // Where it lies in a file it need not stay in memory.
      own.shard.releaseFileBackedMemory()
    }
  }

  /// Gathers a block, in pieces where it is large.
  private static func gather(_ block: Block, _ group: ProcessGroup, most: Int) throws {
    let part = block.shard.count
    guard part > most else {
      return try group.allGather(block.shard, into: block.whole, "block \(block.number)")
    }
    for start in stride(from: 0, to: part, by: most) {
      let piece = start..<min(part, start + most)
      let gathered = Tensor.empty([group.size, piece.count], dtype: .uint8)
      try group.allGather(
        block.shard.narrowed(0, piece).contiguous(), into: gathered, "block \(block.number)")
      for rank in 0..<group.size {
        let place = (rank * part + piece.lowerBound)..<(rank * part + piece.upperBound)
        block.whole.narrowed(0, place).copyInPlace(from: gathered.selected(0, rank))
      }
    }
  }

  /// Waits for it.
  ///
  /// - Parameter block: The block.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func await(_ block: Int) throws {
    try gatherings.removeValue(forKey: block)?.wait()
  }

  /// Gives the memory back; the addresses stay.
  ///
  /// - Parameter block: The block.
  public func drop(_ block: Int) { blocks[block]?.memory.close() }

  /// Opens the memory.
  ///
  /// - Parameter block: The block.
  public func expose(_ block: Int) { blocks[block]?.memory.open() }

  /// Every process brings its range.
  public var isShared: Bool { true }

  /// Memory is given back.
  ///
  /// - Parameter tensor: Any tensor.
  /// - Returns: Whether it lies in a block.
  public func loses(_ tensor: Tensor) -> Bool {
    blocks.values.contains { $0.memory.holds(tensor) }
  }
}
