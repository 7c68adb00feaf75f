/// Builds small GGUF files, well-formed or not.
struct GGUFBuilder {
  var version: UInt32 = 3
  var entries: [(key: String, type: UInt32, value: [UInt8])] = []
  var tensors: [(name: String, extents: [UInt64], type: UInt32, offset: UInt64)] = []
  var data = 0
  var payload: [UInt8] = []
  var tensorCount: UInt64?
  var entryCount: UInt64?

  static func integer<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian, Array.init)
  }

  static func text(_ value: String) -> [UInt8] {
    integer(UInt64(value.utf8.count)) + Array(value.utf8)
  }

  var bytes: [UInt8] {
    var bytes = Array("GGUF".utf8) + Self.integer(version)
    bytes += Self.integer(tensorCount ?? UInt64(tensors.count))
    bytes += Self.integer(entryCount ?? UInt64(entries.count))
    for (key, type, value) in entries { bytes += Self.text(key) + Self.integer(type) + value }
    for (name, extents, type, offset) in tensors {
      bytes += Self.text(name) + Self.integer(UInt32(extents.count))
      bytes += extents.flatMap(Self.integer) + Self.integer(type) + Self.integer(offset)
    }
    bytes += [UInt8](repeating: 0, count: (32 - bytes.count % 32) % 32 + data)
    bytes += payload
    return bytes
  }
}
