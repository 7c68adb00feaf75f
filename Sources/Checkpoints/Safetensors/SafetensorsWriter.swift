/// Writes a safetensors file tensor by tensor, without holding more than one piece in memory.
///
/// The layout is that of the reference implementation: tensors by descending position of their
/// dtype in ``SafetensorsDType``, then by name (bytes); a compact JSON header padded with spaces to
/// a multiple of 8 bytes. The same tensors therefore give the same bytes as the Python package.
///
/// The file appears under its name at ``commit()``; a writer that goes away before removes its
/// temporary file.
public final class SafetensorsWriter {
  /// A tensor to write.
  public struct Tensor: Sendable, Equatable {
    /// The name, unique in the file when compared by bytes.
    public let name: String
    /// The element type.
    public let dtype: SafetensorsDType
    /// The extents, outermost first; empty for a scalar.
    public let shape: [Int]

    /// Describes a tensor.
    ///
    /// - Parameters:
    ///   - name: the name, unique in the file; not `__metadata__`.
    ///   - dtype: the element type.
    ///   - shape: the extents, outermost first.
    public init(name: String, dtype: SafetensorsDType, shape: [Int]) {
      self.name = name
      self.dtype = dtype
      self.shape = shape
    }
  }

  /// The tensors in the order in which their data must be given, with their places in the file.
  public let entries: [SafetensorsEntry]

  /// The final path.
  public var path: String { file.path }

  private let file: AtomicFile
  private var position: Int
  private var nextIndex = 0

  /// Lays the file out, creates its temporary sibling and writes the header.
  ///
  /// - Parameters:
  ///   - path: the final path; its directory must exist.
  ///   - tensors: the tensors in any order.
  ///   - metadata: the free-form metadata in the order to write; `nil` leaves `__metadata__` out.
  /// - Throws: ``CheckpointError`` for a repeated name or an impossible shape, or when the file
  ///   cannot be created.
  public init(
    path: String, tensors: [Tensor],
    metadata: [(key: String, value: String)]? = [("format", "pt")]
  ) throws(CheckpointError) {
    let layout = try SafetensorsLayout(path: path, tensors: tensors, metadata: metadata)
    entries = layout.entries
    file = try AtomicFile(path: path)
    position = layout.header.count
    try file.write(layout.header)
    skipCompleted()
  }

  /// The tensor whose data comes next, or nil when all are complete; empty tensors are passed over.
  public var next: SafetensorsEntry? { nextIndex < entries.count ? entries[nextIndex] : nil }

  /// Appends data of the next tensor; a tensor may be given in several pieces.
  ///
  /// - Parameter bytes: little-endian elements; they must not reach beyond the end of the tensor.
  /// - Throws: ``CheckpointError/wrongByteCount(path:tensor:expected:actual:)`` when they do, or
  ///   another error when the disk is full or the write fails.
  public func write(_ bytes: UnsafeRawBufferPointer) throws(CheckpointError) {
    guard !bytes.isEmpty else { return }
    guard let next else {
      throw .wrongByteCount(
        path: path, tensor: entries.last?.name ?? "", expected: entries.last?.byteRange.count ?? 0,
        actual: (entries.last?.byteRange.count ?? 0) + bytes.count)
    }
    guard bytes.count <= next.byteRange.upperBound - position else {
      throw .wrongByteCount(
        path: path, tensor: next.name, expected: next.byteRange.count,
        actual: position - next.byteRange.lowerBound + bytes.count)
    }
    try file.write(bytes)
    position += bytes.count
    skipCompleted()
  }

  /// Flushes the file and gives it its name, replacing a file of that name in one step.
  ///
  /// - Throws: ``CheckpointError/wrongByteCount(path:tensor:expected:actual:)`` when a tensor is
  ///   incomplete, or another error when flushing or renaming fails.
  public func commit() throws(CheckpointError) {
    if let next {
      throw .wrongByteCount(
        path: path, tensor: next.name, expected: next.byteRange.count,
        actual: position - next.byteRange.lowerBound)
    }
    try file.commit()
  }

  private func skipCompleted() {
    while let next, position >= next.byteRange.upperBound { nextIndex += 1 }
  }
}
