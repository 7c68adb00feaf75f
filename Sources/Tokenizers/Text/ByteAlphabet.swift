/// The 256 characters by which byte-level tokenizers write bytes as printable text.
///
/// Printable bytes of Latin-1 stand for themselves; the others, in order, are U+0100 onwards.
/// Source: the encoder of GPT-2 (Radford et al., 2019).
enum ByteAlphabet {
  /// The scalar of each byte.
  static let scalars: [Unicode.Scalar] = {
    var next: UInt32 = 0x100
    return (UInt32(0)..<256).map { byte in
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF:
        return Unicode.Scalar(UInt8(byte))
      default:
        defer { next += 1 }
        return Unicode.Scalar(next) ?? "?"
      }
    }
  }()

  /// The byte of each scalar below U+0144, or nil where there is none.
  private static let bytes: [UInt8?] = {
    var bytes = [UInt8?](repeating: nil, count: 0x144)
    for (byte, scalar) in scalars.enumerated() { bytes[Int(scalar.value)] = UInt8(byte) }
    return bytes
  }()

  /// The bytes that a token of this alphabet stands for, or nil if a character is none of it.
  static func bytes(of token: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
    var result: [UInt8] = []
    result.reserveCapacity(token.count)
    return append(token, to: &result) ? result : nil
  }

  /// Appends the bytes that a token stands for; false, and no change, if it has other characters.
  static func append(_ token: UnsafeBufferPointer<UInt8>, to result: inout [UInt8]) -> Bool {
    let bytes = bytes
    let start = result.count
    var index = 0
    while index < token.count {
      let (value, width) = token.scalar(at: index)
      guard value < 0x144, let byte = bytes[Int(value)] else {
        result.removeSubrange(start...)
        return false
      }
      result.append(byte)
      index += width
    }
    return true
  }

  /// Appends the characters of some bytes.
  static func append(encoded text: UnsafeBufferPointer<UInt8>, to result: inout [UInt8]) {
    let scalars = scalars
    for byte in text { result.append(scalar: scalars[Int(byte)]) }
  }
}
