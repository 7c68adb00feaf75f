public import Tensors

extension SafetensorsDType {
  /// The element type of tensors that hold such numbers, or nil for packed sub-byte formats.
  public var dtype: DType? {
    switch rawValue {
    case "BOOL": .bool
    case "U8": .uint8
    case "I8": .int8
    case "U16": .uint16
    case "I16": .int16
    case "U32": .uint32
    case "I32": .int32
    case "U64": .uint64
    case "I64": .int64
    case "F16": .float16
    case "BF16": .bfloat16
    case "F32": .float32
    case "F64": .float64
    case "F8_E5M2": .float8e5m2
    case "F8_E4M3": .float8e4m3
    case "F8_E8M0": .float8e8m0
    case "C64": .complex64
    default: nil
    }
  }

  /// The file's name of an element type, or nil where the format has none.
  ///
  /// - Parameter dtype: The element type.
  public init?(_ dtype: DType) {
    guard let match = SafetensorsDType.allCases.first(where: { $0.dtype == dtype }) else {
      return nil
    }
    self = match
  }
}

extension SafetensorsFile {
  /// A tensor of the file.
  ///
  /// - Parameter entry: Which one.
  /// - Returns: A tensor over the mapped file, which must not be changed in place; a copy where the
  ///   file does not align it.
  /// - Throws: ``CheckpointError`` when the format is one that tensors do not have.
  public func tensor(_ entry: SafetensorsEntry) throws(CheckpointError) -> Tensor {
    guard let dtype = entry.dtype.dtype else {
      throw .unsupported(
        path: path, what: "tensor \(entry.name) of type \(entry.dtype.rawValue)",
        supported: SafetensorsDType.allCases.filter { $0.dtype != nil }.map(\.rawValue))
    }
    let bytes = bytes(of: entry)
    guard let base = bytes.baseAddress, entry.elementCount > 0 else {
      return Tensor.empty(entry.shape, dtype: dtype)
    }
    if Int(bitPattern: base) % dtype.byteCount == 0 {
      return Tensor.aliasing(base, shape: entry.shape, dtype: dtype, owner: mapping)
    }
    let copy = Tensor.empty(entry.shape, dtype: dtype)
    copy.withUnsafeMutableBytes { $0.copyMemory(from: bytes) }
    return copy
  }

  /// The bytes of a tensor of the file, whatever its type.
  ///
  /// - Parameter entry: Which one.
  /// - Returns: uint8 of one dimension over the mapped file, which must not be changed in place.
  public func byteTensor(_ entry: SafetensorsEntry) -> Tensor {
    let bytes = bytes(of: entry)
    guard let base = bytes.baseAddress, bytes.count > 0 else {
      return Tensor.empty([0], dtype: .uint8)
    }
    return Tensor.aliasing(base, shape: [bytes.count], dtype: .uint8, owner: mapping)
  }

  /// Every tensor of the file by name, in the file's order.
  ///
  /// - Returns: Names and tensors as ``tensor(_:)`` gives them.
  /// - Throws: ``CheckpointError`` when a format is one that tensors do not have.
  public func tensors() throws(CheckpointError) -> [(name: String, tensor: Tensor)] {
    var result: [(name: String, tensor: Tensor)] = []
    for entry in entries { result.append((entry.name, try tensor(entry))) }
    return result
  }
}

extension SafetensorsCheckpoint {
  /// A tensor of the checkpoint, from whichever shard holds it.
  ///
  /// - Parameter name: Its name.
  /// - Returns: The tensor, or nil when there is none of that name.
  /// - Throws: ``CheckpointError`` when the format is one that tensors do not have.
  public func tensor(_ name: String) throws(CheckpointError) -> Tensor? {
    guard let (file, entry) = entry(name) else { return nil }
    return try file.tensor(entry)
  }
}

extension SafetensorsWriter {
  /// Writes tensors to a file that appears under its name only when it is whole.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - tensors: Names and tensors; copied to the processor one at a time.
  ///   - metadata: Text entries of the header.
  /// - Throws: ``CheckpointError`` when it cannot be written or a dtype has no name in the format.
  public static func save(
    _ path: String, tensors: [(name: String, tensor: Tensors.Tensor)],
    metadata: [(key: String, value: String)] = [("format", "pt")]
  ) throws(CheckpointError) {
    var described: [SafetensorsWriter.Tensor] = []
    var byName: [String: Tensors.Tensor] = [:]
    for (name, tensor) in tensors {
      guard let dtype = SafetensorsDType(tensor.dtype) else {
        throw .invalidTensor(path: path, tensor: name, reason: "its type is \(tensor.dtype)")
      }
      described.append(.init(name: name, dtype: dtype, shape: tensor.shape))
      byName[name] = tensor
    }
    let writer = try SafetensorsWriter(path: path, tensors: described, metadata: metadata)
    while let entry = writer.next {
      guard let tensor = byName[entry.name] else { break }
      let source = tensor.detached().to(device: .cpu).contiguous()
      do {
        try source.withUnsafeBytes { bytes throws in try writer.write(bytes) }
      } catch let error as CheckpointError {
        throw error
      } catch {
        throw .cannotWrite(path: path, reason: "\(error)")
      }
    }
    try writer.commit()
  }
}
