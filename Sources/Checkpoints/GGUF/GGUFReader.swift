/// Reads the fields of a GGUF file one after the other and never beyond its end.
struct GGUFReader {
  let bytes: UnsafeRawBufferPointer
  private(set) var offset = 0

  /// The deepest nesting of arrays that is read; the format's writers produce one level.
  static let nestingLimit = 4

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  var available: Int { bytes.count - offset }

  mutating func integer<T: FixedWidthInteger>(
    _ type: T.Type, _ what: @autoclosure () -> String
  ) throws(GGUFDefect) -> T {
    let size = MemoryLayout<T>.size
    guard size <= available else {
      throw .truncated(
        what: what(), offset: offset, needed: UInt64(size), available: available)
    }
    let value = bytes.loadUnaligned(fromByteOffset: offset, as: T.self)
    offset += size
    return T(littleEndian: value)
  }

  mutating func string(_ what: @autoclosure () -> String) throws(GGUFDefect) -> String {
    let length = try integer(UInt64.self, what())
    guard length <= UInt64(available) else {
      throw .truncated(what: what(), offset: offset, needed: length, available: available)
    }
    let range = offset..<offset + Int(length)
    guard let text = String(validating: bytes[range], as: UTF8.self) else {
      throw .notUTF8(what: what(), offset: offset)
    }
    offset = range.upperBound
    return text
  }

  mutating func value(of key: String) throws(GGUFDefect) -> GGUFValue {
    let type = try integer(UInt32.self, "the type of \(quoted(key))")
    return try value(of: key, type: type, depth: 0)
  }

  private mutating func value(
    of key: String, type: UInt32, depth: Int
  ) throws(GGUFDefect) -> GGUFValue {
    func what() -> String { "the value of \(quoted(key))" }
    switch type {
    case 0: return .uint8(try integer(UInt8.self, what()))
    case 1: return .int8(try integer(Int8.self, what()))
    case 2: return .uint16(try integer(UInt16.self, what()))
    case 3: return .int16(try integer(Int16.self, what()))
    case 4: return .uint32(try integer(UInt32.self, what()))
    case 5: return .int32(try integer(Int32.self, what()))
    case 6: return .float32(Float(bitPattern: try integer(UInt32.self, what())))
    case 7: return .bool(try integer(UInt8.self, what()) != 0)
    case 8: return .string(try string(what()))
    case 9: return .array(try array(of: key, depth: depth + 1))
    case 10: return .uint64(try integer(UInt64.self, what()))
    case 11: return .int64(try integer(Int64.self, what()))
    case 12: return .float64(Double(bitPattern: try integer(UInt64.self, what())))
    default: throw .valueType(key: key, found: type)
    }
  }

  private mutating func array(of key: String, depth: Int) throws(GGUFDefect) -> [GGUFValue] {
    guard depth <= Self.nestingLimit else { throw .nesting(key: key, limit: Self.nestingLimit) }
    let type = try integer(UInt32.self, "the element type of \(quoted(key))")
    let count = try integer(UInt64.self, "the length of \(quoted(key))")
    guard type <= 12 else { throw .valueType(key: key, found: type) }
    let sizes = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8]  // least bytes of each type
    guard count <= UInt64(available / sizes[Int(type)]) else {
      throw .count(what: "the length of \(quoted(key))", found: count, available: available)
    }
    var values: [GGUFValue] = []
    values.reserveCapacity(Int(count))
    for _ in 0..<count {
      values.append(try value(of: key, type: type, depth: depth))
    }
    return values
  }
}
