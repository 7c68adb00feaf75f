/// Writes a GGUF file of version 3 tensor by tensor, without holding more than one piece in memory.
///
/// The file appears under its name at ``commit()``; a writer that goes away before removes its
/// temporary file.
public final class GGUFWriter {
  /// A tensor to write.
  public struct Tensor: Sendable, Equatable {
    /// The name, unique in the file, such as `blk.0.attn_q.weight`.
    public let name: String
    /// How the elements are stored; one of ``GGUFTensorType/writable``.
    public let type: GGUFTensorType
    /// The extents, outermost first (the file lists them innermost first).
    public let shape: [Int]

    /// Describes a tensor.
    ///
    /// - Parameters:
    ///   - name: the name, unique in the file.
    ///   - type: how the elements are stored.
    ///   - shape: the extents, outermost first.
    public init(name: String, type: GGUFTensorType, shape: [Int]) {
      self.name = name
      self.type = type
      self.shape = shape
    }

    /// The number of elements.
    public var elementCount: Int { shape.reduce(1, *) }

    /// The number of elements of one row, the last axis.
    public var rowLength: Int { shape.last ?? 1 }

    var byteCount: Int { elementCount / type.blockSize * type.blockByteCount }
  }

  /// The final path.
  public var path: String { file.path }

  private let file: AtomicFile
  private let tensors: [Tensor]
  private let alignment: Int
  private var index = 0
  /// Elements of the current tensor that were given.
  private var given = 0

  /// Lays the file out, creates its temporary sibling and writes header, metadata and tensor list.
  ///
  /// - Parameters:
  ///   - path: the final path; its directory must exist.
  ///   - metadata: keys and values in the order to write; `general.alignment` is added where
  ///     `alignment` is not the format's default.
  ///   - tensors: the tensors in the order in which their data will be given.
  ///   - alignment: a power of two; every tensor's data begins at a multiple of it.
  /// - Throws: ``CheckpointError`` for a repeated name, a shape or a type that cannot be stored, or
  ///   when the file cannot be created.
  /// - Precondition: the elements of every array in `metadata` have one type.
  public init(
    path: String, metadata: [(key: String, value: GGUFValue)], tensors: [Tensor],
    alignment: Int = 32
  ) throws(CheckpointError) {
    precondition(
      alignment > 0 && alignment & (alignment - 1) == 0, "GGUF: an alignment of \(alignment)")
    var entries = metadata
    if alignment != GGUFHeader.defaultAlignment {
      entries.append(("general.alignment", .uint32(UInt32(alignment))))
    }
    var seen: Set<UTF8Key> = []
    for (key, _) in entries where !seen.insert(UTF8Key(key)).inserted {
      throw .cannotWrite(path: path, reason: "metadata key \(quoted(key)) is given twice")
    }
    try Self.check(tensors, path)
    self.tensors = tensors
    self.alignment = alignment
    var header = GGUFHeaderBytes()
    header.append(magicAndCounts: tensors.count, entries.count)
    for (key, value) in entries { header.append(key: key, value) }
    var offset = 0
    for tensor in tensors {
      header.append(tensor, offset: offset)
      offset += Self.padded(tensor.byteCount, to: alignment)
    }
    header.pad(to: alignment)
    file = try AtomicFile(path: path)
    try file.write(header.bytes)
    skipEmpty()
  }

  private static func check(_ tensors: [Tensor], _ path: String) throws(CheckpointError) {
    var seen: Set<UTF8Key> = []
    for tensor in tensors {
      func invalid(_ reason: String) -> CheckpointError {
        .invalidTensor(path: path, tensor: tensor.name, reason: reason)
      }
      guard seen.insert(UTF8Key(tensor.name)).inserted else { throw invalid("it is given twice") }
      guard GGUFTensorType.writable.contains(tensor.type) else {
        throw invalid(
          "type \(tensor.type.name) is not written here; written are "
            + GGUFTensorType.writable.map(\.name).joined(separator: ", "))
      }
      guard tensor.shape.count <= GGUFHeader.rankLimit else {
        throw invalid("it has \(tensor.shape.count) axes, more than \(GGUFHeader.rankLimit)")
      }
      var count = 1
      for extent in tensor.shape {
        let (product, overflow) = count.multipliedReportingOverflow(by: extent)
        guard extent >= 0, !overflow, product < 1 << 60 else {
          throw invalid("its shape is \(tensor.shape)")
        }
        count = product
      }
      guard tensor.rowLength % tensor.type.blockSize == 0 else {
        throw invalid(
          "rows of \(tensor.rowLength) elements are no multiple of the \(tensor.type.blockSize) of a"
            + " \(tensor.type.name) block")
      }
    }
  }

  /// The tensor whose data comes next, or nil when all are complete; empty tensors are passed over.
  public var next: Tensor? { index < tensors.count ? tensors[index] : nil }

  /// Appends elements of the next tensor, which are stored in its type.
  ///
  /// - Parameter values: whole blocks of the tensor's type, in row-major order; a tensor may be given
  ///   in several pieces.
  /// - Throws: ``CheckpointError/mismatch(path:what:expected:actual:)`` for numbers that the type
  ///   cannot hold, ``CheckpointError/wrongByteCount(path:tensor:expected:actual:)`` for more than
  ///   the tensor takes, or another error when the disk is full or the write fails.
  /// - Precondition: a multiple of the type's ``GGUFTensorType/blockSize``.
  public func write(_ values: UnsafeBufferPointer<Float>) throws(CheckpointError) {
    guard !values.isEmpty else { return }
    guard let next, values.count <= next.elementCount - given else {
      throw .wrongByteCount(
        path: path, tensor: next?.name ?? tensors.last?.name ?? "",
        expected: next?.byteCount ?? 0, actual: (given + values.count) * 4)
    }
    precondition(values.count % next.type.blockSize == 0, "GGUF: a piece of \(values.count)")
    let bytes: [UInt8]
    do throws(GGUFBlocks.NotStorable) {
      bytes = try GGUFBlocks.quantize(next.type, values)
    } catch {
      throw .mismatch(
        path: path, what: "tensor \(quoted(next.name)) in \(next.type.name)",
        expected: "numbers that this type holds; bf16 and f32 hold larger ones",
        actual: "\(error.value)")
    }
    try file.write(bytes)
    given += values.count
    if given == next.elementCount {
      let rest = Self.padded(next.byteCount, to: alignment) - next.byteCount
      try file.write([UInt8](repeating: 0, count: rest))
      index += 1
      given = 0
      skipEmpty()
    }
  }

  /// Flushes the file and gives it its name, replacing a file of that name in one step.
  ///
  /// - Throws: ``CheckpointError/wrongByteCount(path:tensor:expected:actual:)`` when a tensor is
  ///   incomplete, or another error when the disk is full or the write fails.
  public func commit() throws(CheckpointError) {
    if let next {
      throw .wrongByteCount(
        path: path, tensor: next.name, expected: next.byteCount,
        actual: given / next.type.blockSize * next.type.blockByteCount)
    }
    try file.commit()
  }

  private func skipEmpty() {
    while let next, next.elementCount == 0 { index += 1 }
  }

  private static func padded(_ count: Int, to alignment: Int) -> Int {
    (count + alignment - 1) / alignment * alignment
  }
}
