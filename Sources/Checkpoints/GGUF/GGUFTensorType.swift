/// The storage types of GGUF tensors, with ggml's numbers.
///
/// A type stores rows as blocks of ``blockSize`` elements in ``blockByteCount`` bytes. Types that
/// cannot be dequantised here are listed too, so that a file is described and an error names them.
/// Source of numbers and sizes: `ggml.h` as of GGUF version 3.
public enum GGUFTensorType: UInt32, Sendable, CaseIterable {
  /// IEEE single precision.
  case f32 = 0
  /// IEEE half precision.
  case f16 = 1
  /// The upper half of an IEEE single.
  case bf16 = 30
  /// 4 bits, scale per 32: `Q4_0`.
  case q40 = 2
  /// 4 bits, scale and minimum per 32: `Q4_1`.
  case q41 = 3
  /// 5 bits, scale per 32: `Q5_0`.
  case q50 = 6
  /// 5 bits, scale and minimum per 32: `Q5_1`.
  case q51 = 7
  /// 8 bits, scale per 32: `Q8_0`.
  case q80 = 8
  /// 8 bits, scale and sum per 32, used for activations: `Q8_1`.
  case q81 = 9
  /// 2 bits, 4-bit scales and minima per 16, in blocks of 256: `Q2_K`.
  case q2K = 10
  /// 3 bits, 6-bit scales per 16, in blocks of 256: `Q3_K`.
  case q3K = 11
  /// 4 bits, 6-bit scales and minima per 32, in blocks of 256: `Q4_K`.
  case q4K = 12
  /// 5 bits, 6-bit scales and minima per 32, in blocks of 256: `Q5_K`.
  case q5K = 13
  /// 6 bits, 8-bit scales per 16, in blocks of 256: `Q6_K`.
  case q6K = 14
  /// 8 bits in blocks of 256, used for activations: `Q8_K`.
  case q8K = 15
  /// Codebook of 2.06 bits: `IQ2_XXS`.
  case iq2XXS = 16
  /// Codebook of 2.31 bits: `IQ2_XS`.
  case iq2XS = 17
  /// Codebook of 3.06 bits: `IQ3_XXS`.
  case iq3XXS = 18
  /// Codebook of 1.56 bits: `IQ1_S`.
  case iq1S = 19
  /// 4 bits into a non-linear table, scale per 32: `IQ4_NL`.
  case iq4NL = 20
  /// Codebook of 3.44 bits: `IQ3_S`.
  case iq3S = 21
  /// Codebook of 2.56 bits: `IQ2_S`.
  case iq2S = 22
  /// 4 bits into a non-linear table, in blocks of 256: `IQ4_XS`.
  case iq4XS = 23
  /// Codebook of 1.75 bits: `IQ1_M`.
  case iq1M = 29
  /// A signed byte.
  case i8 = 24
  /// A signed 16-bit integer.
  case i16 = 25
  /// A signed 32-bit integer.
  case i32 = 26
  /// A signed 64-bit integer.
  case i64 = 27
  /// IEEE double precision.
  case f64 = 28
  /// Ternary, 1.69 bits: `TQ1_0`.
  case tq10 = 34
  /// Ternary, 2.06 bits: `TQ2_0`.
  case tq20 = 35
  /// OCP MX 4-bit float, scale per 32.
  case mxfp4 = 39
  /// 4-bit float, 8-bit float scales per 16, in blocks of 64.
  case nvfp4 = 40
  /// 1 bit, scale per 128: `Q1_0`.
  case q10 = 41

  /// The name in the format's documents, such as `Q4_K`.
  public var name: String { layout.name }

  /// The number of consecutive elements of a row in one block.
  public var blockSize: Int { layout.elements }

  /// The number of bytes of one block.
  public var blockByteCount: Int { layout.bytes }

  /// The types that ``GGUFFile/dequantize(_:into:)`` reads.
  public static let dequantizable: [GGUFTensorType] = [
    .f32, .f16, .bf16, .q40, .q41, .q50, .q51, .q80, .q2K, .q3K, .q4K, .q5K, .q6K,
  ]

  private var layout: (name: String, elements: Int, bytes: Int) {
    switch self {
    case .f32: ("F32", 1, 4)
    case .f16: ("F16", 1, 2)
    case .bf16: ("BF16", 1, 2)
    case .q40: ("Q4_0", 32, 18)
    case .q41: ("Q4_1", 32, 20)
    case .q50: ("Q5_0", 32, 22)
    case .q51: ("Q5_1", 32, 24)
    case .q80: ("Q8_0", 32, 34)
    case .q81: ("Q8_1", 32, 40)
    case .q2K: ("Q2_K", 256, 84)
    case .q3K: ("Q3_K", 256, 110)
    case .q4K: ("Q4_K", 256, 144)
    case .q5K: ("Q5_K", 256, 176)
    case .q6K: ("Q6_K", 256, 210)
    case .q8K: ("Q8_K", 256, 292)
    case .iq2XXS: ("IQ2_XXS", 256, 66)
    case .iq2XS: ("IQ2_XS", 256, 74)
    case .iq3XXS: ("IQ3_XXS", 256, 98)
    case .iq1S: ("IQ1_S", 256, 50)
    case .iq4NL: ("IQ4_NL", 32, 18)
    case .iq3S: ("IQ3_S", 256, 110)
    case .iq2S: ("IQ2_S", 256, 82)
    case .iq4XS: ("IQ4_XS", 256, 136)
    case .iq1M: ("IQ1_M", 256, 56)
    case .i8: ("I8", 1, 1)
    case .i16: ("I16", 1, 2)
    case .i32: ("I32", 1, 4)
    case .i64: ("I64", 1, 8)
    case .f64: ("F64", 1, 8)
    case .tq10: ("TQ1_0", 256, 54)
    case .tq20: ("TQ2_0", 256, 66)
    case .mxfp4: ("MXFP4", 32, 17)
    case .nvfp4: ("NVFP4", 64, 36)
    case .q10: ("Q1_0", 128, 18)
    }
  }
}
