import Foundation

extension UnsafeBufferPointer<UInt8> {
  /// A hash of the bytes, eight at a time.
  ///
  /// Each word is folded in by one 64 x 64 -> 128 bit multiplication.
  @inline(__always)
  func hashed(seed: UInt64) -> UInt64 {
    guard let base = UnsafeRawPointer(baseAddress) else { return seed }
    var hash = seed ^ (UInt64(truncatingIfNeeded: count) &* 0x9E37_79B9_7F4A_7C15)
    var offset = 0
    while offset + 8 <= count {
      hash = mix(hash, base.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
      offset += 8
    }
    if offset + 4 <= count {
      hash = mix(hash, UInt64(base.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
      offset += 4
    }
    var tail: UInt64 = 0
    while offset < count {
      tail = tail << 8 | UInt64(base.load(fromByteOffset: offset, as: UInt8.self))
      offset += 1
    }
    return mix(hash, tail | 0xA5A5_0000_0000)
  }

  @inline(__always)
  private func mix(_ hash: UInt64, _ word: UInt64) -> UInt64 {
    let product = (hash ^ 0xA076_1D64_78BD_642F).multipliedFullWidth(
      by: word ^ 0xE703_7ED1_A0B4_28DB)
    return product.high ^ product.low
  }

  @inline(__always)
  func isEqual(to other: UnsafeBufferPointer<UInt8>) -> Bool {
    guard count == other.count else { return false }
    guard count > 0, let left = baseAddress, let right = other.baseAddress else { return true }
    return memcmp(left, right, count) == 0
  }

  /// The Unicode scalar that starts at `index` and its width; the bytes must be valid UTF-8.
  @inline(__always)
  func scalar(at index: Int) -> (value: UInt32, width: Int) {
    let lead = UInt32(self[index])
    if lead < 0x80 { return (lead, 1) }
    if lead < 0xE0 { return ((lead & 0x1F) << 6 | continuation(index + 1), 2) }
    if lead < 0xF0 {
      return (
        (lead & 0x0F) << 12 | continuation(index + 1) << 6 | continuation(index + 2), 3
      )
    }
    return (
      (lead & 0x07) << 18 | continuation(index + 1) << 12 | continuation(index + 2) << 6
        | continuation(index + 3), 4
    )
  }

  /// The Unicode scalar that ends before `index` and its width; the bytes must be valid UTF-8.
  func scalar(before index: Int) -> (value: UInt32, width: Int) {
    var start = index - 1
    while start > 0 && self[start] & 0xC0 == 0x80 { start -= 1 }
    return scalar(at: start)
  }

  @inline(__always)
  private func continuation(_ index: Int) -> UInt32 { UInt32(self[index] & 0x3F) }

  /// Whether all bytes are ASCII.
  var isASCII: Bool {
    guard let base = UnsafeRawPointer(baseAddress) else { return true }
    var index = 0
    while index + 8 <= count {
      let word = base.loadUnaligned(fromByteOffset: index, as: UInt64.self)
      if word & 0x8080_8080_8080_8080 != 0 { return false }
      index += 8
    }
    while index < count {
      if self[index] >= 0x80 { return false }
      index += 1
    }
    return true
  }

  /// Calls `body` with every scalar and where it starts; the bytes must be valid UTF-8.
  @inline(__always)
  func forEachScalar(_ body: (_ value: UInt32, _ start: Int) -> Void) {
    var index = 0
    while index < count {
      let (value, width) = scalar(at: index)
      body(value, index)
      index += width
    }
  }

  /// The bytes from `start` up to but not including `end`.
  @inline(__always)
  func slice(_ start: Int, _ end: Int) -> UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(rebasing: self[start..<end])
  }
}

extension [UInt8] {
  /// Appends the UTF-8 bytes of a scalar.
  mutating func append(scalar: Unicode.Scalar) {
    append(contentsOf: scalar.utf8)
  }
}

extension String {
  /// Calls `body` with the UTF-8 bytes of the string.
  func withBytes<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
    var copy = self
    return copy.withUTF8(body)
  }
}
