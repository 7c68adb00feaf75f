/// The element types of the safetensors format, version 0.8.
///
/// The order of the cases is the format's own: a file lists tensors by descending position here,
/// then by name.
public enum SafetensorsDType: String, Sendable, CaseIterable {
  /// A truth value in one byte, 0 or 1.
  case bool = "BOOL"
  /// The 4-bit float E2M1 of OCP MX; two elements a byte.
  case float4 = "F4"
  /// The 6-bit float E2M3 of OCP MX.
  case float6E2M3 = "F6_E2M3"
  /// The 6-bit float E3M2 of OCP MX.
  case float6E3M2 = "F6_E3M2"
  /// An unsigned byte.
  case uint8 = "U8"
  /// A signed byte.
  case int8 = "I8"
  /// The 8-bit float E5M2.
  case float8E5M2 = "F8_E5M2"
  /// The 8-bit float E4M3 (finite, with NaN).
  case float8E4M3 = "F8_E4M3"
  /// The 8-bit exponent-only scale E8M0 of OCP MX.
  case float8E8M0 = "F8_E8M0"
  /// The 8-bit float E4M3 without negative zero.
  case float8E4M3FNUZ = "F8_E4M3FNUZ"
  /// The 8-bit float E5M2 without negative zero.
  case float8E5M2FNUZ = "F8_E5M2FNUZ"
  /// A signed 16-bit integer.
  case int16 = "I16"
  /// An unsigned 16-bit integer.
  case uint16 = "U16"
  /// IEEE half precision.
  case float16 = "F16"
  /// The upper half of an IEEE single.
  case bfloat16 = "BF16"
  /// A signed 32-bit integer.
  case int32 = "I32"
  /// An unsigned 32-bit integer.
  case uint32 = "U32"
  /// IEEE single precision.
  case float32 = "F32"
  /// A complex number of two singles.
  case complex64 = "C64"
  /// IEEE double precision.
  case float64 = "F64"
  /// A signed 64-bit integer.
  case int64 = "I64"
  /// An unsigned 64-bit integer.
  case uint64 = "U64"

  /// The size of one element in bits; a multiple of 8 except for the 4-bit and 6-bit floats.
  public var bitCount: Int {
    switch self {
    case .float4: 4
    case .float6E2M3, .float6E3M2: 6
    case .bool, .uint8, .int8: 8
    case .float8E5M2, .float8E4M3, .float8E8M0, .float8E4M3FNUZ, .float8E5M2FNUZ: 8
    case .int16, .uint16, .float16, .bfloat16: 16
    case .int32, .uint32, .float32: 32
    case .complex64, .float64, .int64, .uint64: 64
    }
  }

  /// The position in the format's list, by which files are ordered.
  package var rank: Int { Self.ranks[self] ?? 0 }

  private static let ranks = Dictionary(
    uniqueKeysWithValues: allCases.enumerated().map { ($1, $0) })

  /// The number of bytes that a tensor takes.
  ///
  /// - Parameters:
  ///   - shape: the extents, outermost first; empty for a scalar.
  ///   - tensor: the name to use in errors.
  /// - Returns: the bytes.
  /// - Throws: ``SafetensorsDefect`` for a negative extent, an overflow, or a type narrower than a
  ///   byte whose data does not end at a byte.
  package func byteCount(of shape: [Int], tensor: String) throws(SafetensorsDefect) -> Int {
    var count = 1
    for extent in shape {
      if extent < 0 {
        throw .field(
          tensor: tensor, field: "shape", expected: "non-negative integers", found: "\(extent)")
      }
      // Zeros are left out: products over some of the axes (strides) must not overflow either.
      let (product, overflow) = count.multipliedReportingOverflow(by: max(extent, 1))
      if overflow {
        throw .shapeOverflow(tensor: tensor, shape: shape)
      }
      count = product
    }
    let (bits, overflow) = count.multipliedReportingOverflow(by: bitCount)
    if overflow {
      throw .shapeOverflow(tensor: tensor, shape: shape)
    }
    if shape.contains(0) { return 0 }
    if bits % 8 != 0 {
      throw .notWholeBytes(tensor: tensor, shape: shape, bitCount: bits)
    }
    return bits / 8
  }
}
