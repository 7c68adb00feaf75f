/// One tensor of a GGUF file.
public struct GGUFTensor: Sendable, Equatable {
  /// The name in the file, such as `blk.0.attn_q.weight`.
  public let name: String
  /// How the elements are stored.
  public let type: GGUFTensorType
  /// The extents, outermost first (the file lists them innermost first).
  public let shape: [Int]
  /// Where the data stands, in bytes from the beginning of the file.
  public let byteRange: Range<Int>

  /// The number of elements.
  public var elementCount: Int { shape.reduce(1, *) }

  /// The number of elements of one row, the last axis.
  public var rowLength: Int { shape.last ?? 1 }

  /// The number of rows.
  public var rowCount: Int { shape.dropLast().reduce(1, *) }
}

/// Version, metadata and tensor list of a GGUF file, checked against the file's size.
package struct GGUFHeader: Sendable {
  package let version: UInt32
  package let metadata: [(key: String, value: GGUFValue)]
  package let tensors: [GGUFTensor]

  /// The versions that are read: 1 had 32-bit counts and is not in use.
  static let versions: [UInt32] = [2, 3]
  /// The most axes of a tensor, ggml's `GGML_MAX_DIMS`.
  static let rankLimit = 4
  /// The alignment of files without `general.alignment`.
  static let defaultAlignment = 32

  private struct TensorInfo {
    let name: String
    let type: GGUFTensorType
    let shape: [Int]
    let offset: UInt64
    let byteCount: Int
  }

  /// Parses the header of a whole file.
  package init(parsing file: UnsafeRawBufferPointer) throws(GGUFDefect) {
    var reader = GGUFReader(file)
    guard try reader.integer(UInt32.self, "the magic number") == 0x4655_4747 else { throw .magic }
    version = try reader.integer(UInt32.self, "the version")
    if version & 0xFFFF == 0, version != 0 { throw .byteOrder }
    guard Self.versions.contains(version) else {
      throw .version(found: version, supported: Self.versions)
    }
    let tensorCount = try reader.integer(UInt64.self, "the number of tensors")
    let entryCount = try reader.integer(UInt64.self, "the number of metadata entries")
    // A tensor takes at least 24 bytes here, an entry at least 13.
    guard tensorCount <= UInt64(reader.available / 24) else {
      throw .count(
        what: "the number of tensors", found: tensorCount, available: reader.available)
    }
    guard entryCount <= UInt64(reader.available / 13) else {
      throw .count(
        what: "the number of metadata entries", found: entryCount, available: reader.available)
    }
    metadata = try Self.metadata(count: Int(entryCount), &reader)
    let alignment = try Self.alignment(metadata)
    let infos = try Self.tensors(count: Int(tensorCount), &reader)
    let start = (reader.offset + alignment - 1) / alignment * alignment
    tensors = try Self.placed(
      infos, dataStart: start, alignment: alignment, fileSize: file.count)
  }

  private static func metadata(
    count: Int, _ reader: inout GGUFReader
  ) throws(GGUFDefect) -> [(key: String, value: GGUFValue)] {
    var pairs: [(key: String, value: GGUFValue)] = []
    var seen: Set<UTF8Key> = []
    for index in 0..<count {
      let key = try reader.string("metadata key \(index)")
      guard seen.insert(UTF8Key(key)).inserted else {
        throw .duplicate(what: "metadata key \(quoted(key))")
      }
      pairs.append((key, try reader.value(of: key)))
    }
    return pairs
  }

  private static func alignment(
    _ metadata: [(key: String, value: GGUFValue)]
  ) throws(GGUFDefect) -> Int {
    guard let value = metadata.first(where: { $0.key == "general.alignment" })?.value else {
      return defaultAlignment
    }
    guard case .uint32(let alignment) = value, alignment > 0, alignment & (alignment - 1) == 0
    else { throw .alignment(found: "\(value)") }
    return Int(alignment)
  }

  private static func tensors(
    count: Int, _ reader: inout GGUFReader
  ) throws(GGUFDefect) -> [TensorInfo] {
    var infos: [TensorInfo] = []
    var seen: Set<UTF8Key> = []
    for index in 0..<count {
      let name = try reader.string("the name of tensor \(index)")
      guard seen.insert(UTF8Key(name)).inserted else {
        throw .duplicate(what: "tensor \(quoted(name))")
      }
      let what = "the description of tensor \(quoted(name))"
      let rank = try reader.integer(UInt32.self, what)
      guard rank <= rankLimit else { throw .rank(tensor: name, found: rank, limit: rankLimit) }
      var extents: [UInt64] = []
      for _ in 0..<rank { extents.append(try reader.integer(UInt64.self, what)) }
      let number = try reader.integer(UInt32.self, what)
      let offset = try reader.integer(UInt64.self, what)
      guard let type = GGUFTensorType(rawValue: number) else {
        throw .tensorType(tensor: name, found: number)
      }
      let shape = try shape(of: name, extents)
      let byteCount = try byteCount(of: name, type, shape, extents)
      infos.append(
        TensorInfo(name: name, type: type, shape: shape, offset: offset, byteCount: byteCount))
    }
    return infos
  }

  private static func shape(
    of name: String, _ extents: [UInt64]
  ) throws(GGUFDefect) -> [Int] {
    var shape: [Int] = []
    for extent in extents.reversed() {
      guard let extent = Int(exactly: extent) else {
        throw .shapeOverflow(tensor: name, extents: extents)
      }
      shape.append(extent)
    }
    return shape
  }

  private static func byteCount(
    of name: String, _ type: GGUFTensorType, _ shape: [Int], _ extents: [UInt64]
  ) throws(GGUFDefect) -> Int {
    let row = shape.last ?? 1
    guard row % type.blockSize == 0 else {
      throw .rowLength(tensor: name, type: type, found: row, blockSize: type.blockSize)
    }
    var elements = 1
    for extent in shape {
      // Zeros are left out: products over some of the axes must not overflow either.
      let (product, overflow) = elements.multipliedReportingOverflow(by: max(extent, 1))
      if overflow { throw .shapeOverflow(tensor: name, extents: extents) }
      elements = product
    }
    if shape.contains(0) { return 0 }
    let blocks = elements / type.blockSize
    let (bytes, overflow) = blocks.multipliedReportingOverflow(by: type.blockByteCount)
    if overflow { throw .shapeOverflow(tensor: name, extents: extents) }
    return bytes
  }

  /// Turns offsets into ranges of the file and checks that no two tensors share bytes.
  private static func placed(
    _ infos: [TensorInfo], dataStart: Int, alignment: Int, fileSize: Int
  ) throws(GGUFDefect) -> [GGUFTensor] {
    let available = max(0, fileSize - dataStart)
    var tensors: [GGUFTensor] = []
    for info in infos {
      guard info.offset % UInt64(alignment) == 0 else {
        throw .misaligned(tensor: info.name, offset: info.offset, alignment: alignment)
      }
      let (end, overflow) = info.offset.addingReportingOverflow(UInt64(info.byteCount))
      guard !overflow, end <= UInt64(available) else {
        throw .outOfRange(
          tensor: info.name, end: overflow ? .max : end, available: available)
      }
      let begin = dataStart + Int(info.offset)
      tensors.append(
        GGUFTensor(
          name: info.name, type: info.type, shape: info.shape,
          byteRange: begin..<begin + info.byteCount))
    }
    var previous: GGUFTensor?
    let occupied = tensors.filter { !$0.byteRange.isEmpty }
    for tensor in occupied.sorted(by: { $0.byteRange.lowerBound < $1.byteRange.lowerBound }) {
      if let previous, tensor.byteRange.lowerBound < previous.byteRange.upperBound {
        throw .overlap(tensor: tensor.name, previous: previous.name)
      }
      previous = tensor
    }
    return tensors
  }
}
