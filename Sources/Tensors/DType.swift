/// Element type of a tensor.
///
/// Raw values are LibTorch's `c10::ScalarType` codes.
public enum DType: Int32, Sendable, Hashable, CaseIterable {
  case uint8 = 0
  case int8 = 1
  case int16 = 2
  case int32 = 3
  case int64 = 4
  case float16 = 5
  case float32 = 6
  case float64 = 7
  case complex64 = 9
  case complex128 = 10
  case bool = 11
  case bfloat16 = 15
  case float8e5m2 = 23
  case float8e4m3 = 24
  case uint16 = 27
  case uint32 = 28
  case uint64 = 29
  case float8e8m0 = 44

  /// Size of one element in bytes.
  public var byteCount: Int {
    switch self {
    case .uint8, .int8, .bool, .float8e5m2, .float8e4m3, .float8e8m0: 1
    case .int16, .uint16, .float16, .bfloat16: 2
    case .int32, .uint32, .float32: 4
    case .int64, .uint64, .float64, .complex64: 8
    case .complex128: 16
    }
  }

  /// Whether elements are real floating-point numbers.
  public var isFloatingPoint: Bool {
    switch self {
    case .float16, .bfloat16, .float32, .float64, .float8e5m2, .float8e4m3, .float8e8m0: true
    default: false
    }
  }

  /// Most negative finite number of a floating-point type; the value that attention masks use.
  ///
  /// - Precondition: The type is one of float16, bfloat16, float32 and float64.
  public var lowestFinite: Double {
    switch self {
    case .float16: -65504
    case .bfloat16: -3.3895313892515355e38
    case .float32: -Double(Float.greatestFiniteMagnitude)
    case .float64: -Double.greatestFiniteMagnitude
    default: preconditionFailure("lowestFinite: \(self) is not a floating-point type for masks")
    }
  }
}

extension DType: CustomStringConvertible {
  /// The name that Hugging Face files use, for example "float32".
  public var description: String {
    switch self {
    case .uint8: "uint8"
    case .int8: "int8"
    case .int16: "int16"
    case .int32: "int32"
    case .int64: "int64"
    case .float16: "float16"
    case .float32: "float32"
    case .float64: "float64"
    case .complex64: "complex64"
    case .complex128: "complex128"
    case .bool: "bool"
    case .bfloat16: "bfloat16"
    case .float8e5m2: "float8_e5m2"
    case .float8e4m3: "float8_e4m3fn"
    case .uint16: "uint16"
    case .uint32: "uint32"
    case .uint64: "uint64"
    case .float8e8m0: "float8_e8m0fnu"
    }
  }
}

extension DType {
  /// The type of a name that Hugging Face files use, with or without "torch." before it.
  ///
  /// - Parameter name: For example "float32".
  public init?(name: String) {
    let short = name.hasPrefix("torch.") ? String(name.dropFirst(6)) : name
    guard let match = DType.allCases.first(where: { $0.description == short }) else { return nil }
    self = match
  }
}

/// A Swift type that can be the element of a tensor.
public protocol TensorElement: Sendable {
  /// The element type of tensors that hold such values.
  static var dtype: DType { get }
}

extension Float: TensorElement {
  /// float32.
  public static var dtype: DType { .float32 }
}
extension Double: TensorElement {
  /// float64.
  public static var dtype: DType { .float64 }
}
extension Int64: TensorElement {
  /// int64.
  public static var dtype: DType { .int64 }
}
extension Int: TensorElement {
  /// int64.
  public static var dtype: DType { .int64 }
}
extension Int32: TensorElement {
  /// int32.
  public static var dtype: DType { .int32 }
}
extension Int8: TensorElement {
  /// int8.
  public static var dtype: DType { .int8 }
}
extension UInt8: TensorElement {
  /// uint8.
  public static var dtype: DType { .uint8 }
}
extension Bool: TensorElement {
  /// bool.
  public static var dtype: DType { .bool }
}
