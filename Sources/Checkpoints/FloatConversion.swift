/// Conversions between single precision and the 16-bit formats, written so that they vectorise.
package enum FloatConversion {
  /// Half to single precision, exact; NaN keeps its payload.
  ///
  /// The exponent is rebased by a multiplication with 2^112, which also normalises subnormals.
  @inline(__always)
  package static func float(half: UInt16) -> Float {
    let magnitude = UInt32(half & 0x7FFF) << 13
    let sign = UInt32(half & 0x8000) << 16
    if magnitude >= 0x0F80_0000 {  // infinity and NaN
      return Float(bitPattern: sign | magnitude | 0x7F80_0000)
    }
    let scaled = Float(bitPattern: magnitude) * Float(bitPattern: 0x7780_0000)
    return Float(bitPattern: scaled.bitPattern | sign)
  }

  /// Bfloat16 to single precision, exact.
  @inline(__always)
  package static func float(bfloat16: UInt16) -> Float {
    Float(bitPattern: UInt32(bfloat16) << 16)
  }

  /// Single precision to bfloat16, to the nearest, ties to even; NaN becomes quiet.
  @inline(__always)
  package static func bfloat16(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    let rounded = (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16
    let quiet = (bits >> 16) | 0x40
    return UInt16(truncatingIfNeeded: bits & 0x7FFF_FFFF > 0x7F80_0000 ? quiet : rounded)
  }

  /// Single to half precision, to the nearest, ties to even; too large becomes infinity, NaN quiet.
  ///
  /// Normal results round by integer arithmetic on the bits. Subnormal results round by adding
  /// 0.5, whose last place is 2^-24, the step of half's subnormals.
  @inline(__always)
  package static func half(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    let sign = UInt32(bits >> 16) & 0x8000
    let magnitude = bits & 0x7FFF_FFFF
    let normal = (magnitude &- 0x3800_0000 &+ 0xFFF &+ ((magnitude >> 13) & 1)) >> 13
    let shifted = Float(bitPattern: magnitude) + 0.5
    let subnormal = shifted.bitPattern &- 0x3F00_0000
    var result = magnitude < 0x3880_0000 ? subnormal : normal
    result = magnitude >= 0x477F_F000 ? 0x7C00 : result
    result = magnitude > 0x7F80_0000 ? 0x7E00 | ((magnitude >> 13) & 0x3FF) : result
    return UInt16(truncatingIfNeeded: sign | result)
  }
}
