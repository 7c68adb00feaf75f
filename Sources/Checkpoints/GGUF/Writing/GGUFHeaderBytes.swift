/// The bytes before the data of a GGUF file, as they grow.
struct GGUFHeaderBytes {
  private(set) var bytes: [UInt8] = []

  /// The beginning: magic number, version and both counts.
  mutating func append(magicAndCounts tensors: Int, _ entries: Int) {
    bytes += Array("GGUF".utf8)
    append(UInt32(3))
    append(UInt64(tensors))
    append(UInt64(entries))
  }

  mutating func append(key: String, _ value: GGUFValue) {
    append(text: key)
    append(typeNumber(of: value))
    append(value, in: key)
  }

  /// A row of the tensor list; `offset` counts from the beginning of the data.
  mutating func append(_ tensor: GGUFWriter.Tensor, offset: Int) {
    append(text: tensor.name)
    append(UInt32(tensor.shape.count))
    for extent in tensor.shape.reversed() { append(UInt64(extent)) }
    append(tensor.type.rawValue)
    append(UInt64(offset))
  }

  mutating func pad(to alignment: Int) {
    bytes += [UInt8](repeating: 0, count: (alignment - bytes.count % alignment) % alignment)
  }

  private mutating func append<T: FixedWidthInteger>(_ value: T) {
    withUnsafeBytes(of: value.littleEndian) { bytes += Array($0) }
  }

  private mutating func append(text: String) {
    append(UInt64(text.utf8.count))
    bytes += Array(text.utf8)
  }

  private mutating func append(_ value: GGUFValue, in key: String) {
    switch value {
    case .uint8(let value): append(value)
    case .int8(let value): append(value)
    case .uint16(let value): append(value)
    case .int16(let value): append(value)
    case .uint32(let value): append(value)
    case .int32(let value): append(value)
    case .float32(let value): append(value.bitPattern)
    case .bool(let value): append(UInt8(value ? 1 : 0))
    case .string(let value): append(text: value)
    case .array(let values):
      // An empty array has no element that says its type: strings, as the format's empty lists are.
      let type = values.first.map(typeNumber(of:)) ?? 8
      precondition(
        values.allSatisfy { typeNumber(of: $0) == type }, "GGUF: \(key) has elements of two types")
      append(type)
      append(UInt64(values.count))
      for value in values { append(value, in: key) }
    case .uint64(let value): append(value)
    case .int64(let value): append(value)
    case .float64(let value): append(value.bitPattern)
    }
  }

  private func typeNumber(of value: GGUFValue) -> UInt32 {
    switch value {
    case .uint8: 0
    case .int8: 1
    case .uint16: 2
    case .int16: 3
    case .uint32: 4
    case .int32: 5
    case .float32: 6
    case .bool: 7
    case .string: 8
    case .array: 9
    case .uint64: 10
    case .int64: 11
    case .float64: 12
    }
  }
}
