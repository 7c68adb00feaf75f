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
  private var blocks: [Int: Block] = [:]
  private var gatherings: [Int: Gathering] = [:]

  /// Makes a place for blocks.
  ///
  /// - Parameter group: The processes, which open the same model.
  public init(_ group: ProcessGroup) { self.group = group }

  /// Bytes that this process keeps.
  public var keptByteCount: Int { blocks.values.reduce(0) { $0 + $1.shard.byteCount } }

  /// Keeps this process's range, and reads no more than that of what lies in files.
  ///
  /// - Parameters:
  ///   - tensors: The block's.
  ///   - block: Its number.
  public func take(_ tensors: [Tensor], of block: Int) {
    precondition(blocks[block] == nil, "ShardedBlocks: block \(block) twice")
    let layout = PackedLayout(tensors)
    let unit = PackedLayout.alignment * group.size
    let part = (layout.byteCount + unit - 1) / unit * PackedLayout.alignment
    let shard = Tensor.zeros([part], dtype: .uint8)
    let own = (group.rank * part)..<((group.rank + 1) * part)
    shard.withUnsafeMutableBytes { layout.copyBytes(own, to: $0) }
    for tensor in tensors { tensor.releaseFileBackedMemory() }
    let memory = ReservedMemory(count: part * group.size)
    layout.move(to: memory.tensor)
    blocks[block] = Block(
      number: block, memory: memory,
      whole: memory.tensor(at: 0, shape: [part * group.size], dtype: .uint8), shard: shard)
  }

  /// Leaves them where they are: every process has embeddings, head and last norm as a whole.
  ///
  /// - Parameter tensors: The model's.
  public func takeOutside(_ tensors: [Tensor]) {}

  /// Begins to gather the block from all processes.
  ///
  /// - Parameter block: The block.
  public func fetch(_ block: Int) {
    guard let own = blocks[block] else { return }
    gatherings[block] = Gathering(group) { [group] in
      own.memory.open()
      try group.allGather(own.shard, into: own.whole, "block \(own.number)")
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
