import Checkpoints
public import Layers
public import Tensors

/// Frozen blocks that lie in files, so that a base may be larger than the memory.
///
/// What the model mapped from its own files stays there. Everything else, converted numbers and codes that
/// were made when it was opened, goes into a file without a name for each block. The system begins to read
/// a block when it is fetched, and its memory goes back to the system when it is dropped.
public final class DiskBlocks: BlockSource {
  private let directory: String
  private var blocks: [Int: [Tensor]] = [:]
  /// Bytes that were copied into files of their own.
  public private(set) var copiedByteCount = 0

  /// Makes a place for blocks.
  ///
  /// - Parameter directory: An existing directory of the disk that takes what is in no file yet.
  public init(directory: String) { self.directory = directory }

  /// Copies what lies in memory into a file.
  ///
  /// - Parameters:
  ///   - tensors: The block's.
  ///   - block: Its number.
  /// - Throws: `CheckpointError` when the directory has no room.
  public func take(_ tensors: [Tensor], of block: Int) throws {
    precondition(blocks[block] == nil, "DiskBlocks: block \(block) twice")
    try move(tensors)
    blocks[block] = tensors
    drop(block)
  }

  /// Copies what lies in memory into a file, of which the system keeps in memory what is used.
  ///
  /// - Parameter tensors: The model's.
  /// - Throws: `CheckpointError` when the directory has no room.
  public func takeOutside(_ tensors: [Tensor]) throws {
    try move(tensors)
    for tensor in tensors { tensor.releaseFileBackedMemory() }
  }

  private func move(_ tensors: [Tensor]) throws {
    let layout = PackedLayout(tensors.filter { !$0.isFileBacked })
    guard layout.byteCount > 0 else { return }
    let file = try ScratchFile(directory: directory, count: layout.byteCount)
    layout.copyBytes(0..<layout.byteCount, to: file.bytes)
    layout.move { offset, shape, dtype in
      .aliasing(
        UnsafeRawPointer(file.bytes.baseAddress.unsafelyUnwrapped + offset), shape: shape,
        dtype: dtype, owner: file)
    }
    copiedByteCount += layout.byteCount
  }

  /// Lets the system begin to read.
  ///
  /// - Parameter block: The block.
  public func fetch(_ block: Int) {
    for tensor in blocks[block] ?? [] { tensor.prefetchFileBackedMemory() }
  }

  /// Does not wait: what is not in memory yet is when it is touched.
  ///
  /// - Parameter block: The block.
  public func await(_ block: Int) {}

  /// Gives the block's memory back to the system.
  ///
  /// - Parameter block: The block.
  public func drop(_ block: Int) {
    for tensor in blocks[block] ?? [] { tensor.releaseFileBackedMemory() }
  }

  /// Nothing to do.
  ///
  /// - Parameter block: The block.
  public func expose(_ block: Int) {}

  /// Other processes have files of their own.
  public var isShared: Bool { false }

  /// Files keep what is written to them.
  ///
  /// - Parameter tensor: Any tensor.
  /// - Returns: False.
  public func loses(_ tensor: Tensor) -> Bool { false }
}
