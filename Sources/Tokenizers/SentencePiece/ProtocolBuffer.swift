/// Reads the fields of a message in the wire format of Protocol Buffers.
///
/// Source: the encoding as the Protocol Buffers documentation defines it.
struct ProtocolBuffer {
  /// The value of a field.
  enum Value {
    case number(UInt64)
    case fixed32(UInt32)
    case fixed64(UInt64)
    case bytes(ArraySlice<UInt8>)
  }

  /// Why bytes are no message.
  struct Malformed: Error {
    let place: Int
    let problem: String
  }

  private let bytes: ArraySlice<UInt8>

  init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }

  /// Calls `body` with the number and the value of every field, in their order.
  func forEachField(
    _ body: (_ number: Int, Value) throws(Malformed) -> Void
  ) throws(Malformed) {
    var place = bytes.startIndex
    while place < bytes.endIndex {
      let key = try number(&place)
      let field = Int(truncatingIfNeeded: key >> 3)
      switch key & 7 {
      case 0: try body(field, .number(try number(&place)))
      case 1: try body(field, .fixed64(try fixed(8, &place)))
      case 2:
        let count = try number(&place)
        guard count <= UInt64(bytes.endIndex - place) else {
          throw Malformed(place: place, problem: "a field is longer than what is left")
        }
        let end = place + Int(count)
        let value = bytes[place..<end]
        place = end
        try body(field, .bytes(value))
      case 5: try body(field, .fixed32(UInt32(truncatingIfNeeded: try fixed(4, &place))))
      default: throw Malformed(place: place, problem: "wire type \(key & 7) is not known")
      }
    }
  }

  /// A number in groups of seven bits, the lowest first.
  private func number(_ place: inout Int) throws(Malformed) -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 70, by: 7) {
      guard place < bytes.endIndex else { break }
      let byte = bytes[place]
      place += 1
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
    }
    throw Malformed(place: place, problem: "a number does not end")
  }

  private func fixed(_ width: Int, _ place: inout Int) throws(Malformed) -> UInt64 {
    guard bytes.endIndex - place >= width else {
      throw Malformed(place: place, problem: "a number of \(width) bytes does not end")
    }
    defer { place += width }
    return (0..<width).reduce(0) { $0 | UInt64(bytes[place + $1]) << (8 * UInt64($1)) }
  }
}

extension ProtocolBuffer.Value {
  var integer: Int? {
    if case .number(let value) = self { Int(truncatingIfNeeded: value) } else { nil }
  }

  var bool: Bool? { integer.map { $0 != 0 } }

  var float: Float? {
    if case .fixed32(let value) = self { Float(bitPattern: value) } else { nil }
  }

  var slice: ArraySlice<UInt8>? {
    if case .bytes(let value) = self { value } else { nil }
  }

  var string: String? { slice.flatMap { String(validating: $0, as: UTF8.self) } }
}
