/// A GGUF file of version 2 or 3, mapped into memory.
///
/// Opening reads and checks metadata and tensor list; no tensor is copied.
public final class GGUFFile: Sendable {
  /// The mapping that all data points into.
  public let mapping: MappedFile
  /// The version of the format.
  public let version: Int
  /// The metadata in the order of the file.
  public let metadata: [(key: String, value: GGUFValue)]
  /// The tensors in the order of the file.
  public let tensors: [GGUFTensor]

  private let metadataPositions: [UTF8Key: Int]
  private let tensorPositions: [UTF8Key: Int]

  /// The path as it was given.
  public var path: String { mapping.path }

  /// Maps a file and checks its header.
  ///
  /// - Parameter path: the file.
  /// - Throws: ``CheckpointError`` that names the defect, when the file cannot be read or is
  ///   malformed.
  public convenience init(path: String) throws(CheckpointError) {
    try self.init(mapping: MappedFile(path: path))
  }

  /// Checks the header of a mapped file.
  package init(mapping: MappedFile) throws(CheckpointError) {
    self.mapping = mapping
    do throws(GGUFDefect) {
      let header = try GGUFHeader(parsing: mapping.bytes)
      version = Int(header.version)
      metadata = header.metadata
      tensors = header.tensors
    } catch {
      throw .gguf(path: mapping.path, defect: error)
    }
    metadataPositions = Dictionary(
      uniqueKeysWithValues: metadata.enumerated().map { (UTF8Key($1.key), $0) })
    tensorPositions = Dictionary(
      uniqueKeysWithValues: tensors.enumerated().map { (UTF8Key($1.name), $0) })
  }

  /// The value of a metadata key, or nil when the file has none of that name.
  ///
  /// - Parameter key: the key, such as `general.architecture`.
  /// - Returns: the typed value.
  public subscript(key: String) -> GGUFValue? {
    metadataPositions[UTF8Key(key)].map { metadata[$0].value }
  }

  /// The description of a tensor, or nil when the file has none of that name.
  ///
  /// - Parameter name: the name, such as `token_embd.weight`.
  /// - Returns: the description.
  public func tensor(named name: String) -> GGUFTensor? {
    tensorPositions[UTF8Key(name)].map { tensors[$0] }
  }

  /// The stored data of a tensor, not copied: valid as long as this object.
  ///
  /// - Parameter tensor: one of this file's ``tensors``.
  /// - Returns: the blocks, row by row.
  public func bytes(of tensor: GGUFTensor) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: mapping.bytes[tensor.byteRange])
  }

  /// Converts a whole tensor to single precision.
  ///
  /// - Parameters:
  ///   - name: the name of the tensor.
  ///   - output: the elements, row by row; it must hold exactly the tensor's number.
  /// - Throws: ``CheckpointError/lacks(path:what:)`` when there is no such tensor,
  ///   ``CheckpointError/unsupported(path:what:supported:)`` when its type cannot be converted.
  public func dequantize(
    _ name: String, into output: UnsafeMutableBufferPointer<Float>
  ) throws(CheckpointError) {
    guard let tensor = tensor(named: name) else {
      throw .lacks(path: path, what: "tensor \(quoted(name))")
    }
    try dequantize(tensor, rows: 0..<tensor.rowCount, into: output)
  }

  /// Converts rows of a tensor to single precision.
  ///
  /// The result equals that of the `gguf` Python package bit for bit: scales are converted to
  /// single precision first, products and sums are rounded one by one.
  ///
  /// - Parameters:
  ///   - tensor: one of this file's ``tensors``.
  ///   - rows: which rows, counted over all axes but the last.
  ///   - output: the elements, row by row; it must hold exactly `rows.count` rows.
  /// - Throws: ``CheckpointError/unsupported(path:what:supported:)`` when the type cannot be
  ///   converted.
  /// - Precondition: the rows exist, and `output` has the right size.
  public func dequantize(
    _ tensor: GGUFTensor, rows: Range<Int>, into output: UnsafeMutableBufferPointer<Float>
  ) throws(CheckpointError) {
    precondition(
      rows.lowerBound >= 0 && rows.upperBound <= tensor.rowCount,
      "dequantize \(tensor.name): rows \(rows) of \(tensor.rowCount)")
    precondition(
      output.count == rows.count * tensor.rowLength,
      "dequantize \(tensor.name): output of \(output.count) elements for \(rows.count) rows")
    guard GGUFTensorType.dequantizable.contains(tensor.type) else {
      throw .unsupported(
        path: path, what: "type \(tensor.type.name) of tensor \(quoted(tensor.name))",
        supported: GGUFTensorType.dequantizable.map(\.name))
    }
    guard let target = output.baseAddress, !output.isEmpty else { return }
    let rowBytes = tensor.rowLength / tensor.type.blockSize * tensor.type.blockByteCount
    let data = UnsafeRawBufferPointer(
      rebasing: bytes(of: tensor)[rows.lowerBound * rowBytes..<rows.upperBound * rowBytes])
    guard let source = data.baseAddress else { return }
    GGUFBlocks.dequantize(tensor.type, source, elementCount: output.count, into: target)
  }
}
