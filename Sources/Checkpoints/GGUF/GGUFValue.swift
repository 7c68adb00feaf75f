/// A typed metadata value of a GGUF file.
public enum GGUFValue: Sendable, Equatable {
  /// An unsigned byte (type 0).
  case uint8(UInt8)
  /// A signed byte (type 1).
  case int8(Int8)
  /// An unsigned 16-bit integer (type 2).
  case uint16(UInt16)
  /// A signed 16-bit integer (type 3).
  case int16(Int16)
  /// An unsigned 32-bit integer (type 4).
  case uint32(UInt32)
  /// A signed 32-bit integer (type 5).
  case int32(Int32)
  /// A single (type 6).
  case float32(Float)
  /// A truth value; any byte but 0 is true (type 7).
  case bool(Bool)
  /// A text (type 8).
  case string(String)
  /// Values of one type (type 9).
  case array([GGUFValue])
  /// An unsigned 64-bit integer (type 10).
  case uint64(UInt64)
  /// A signed 64-bit integer (type 11).
  case int64(Int64)
  /// A double (type 12).
  case float64(Double)

  /// The integer, or nil when this is not an integer type or does not fit.
  public var intValue: Int? {
    switch self {
    case .uint8(let value): Int(value)
    case .int8(let value): Int(value)
    case .uint16(let value): Int(value)
    case .int16(let value): Int(value)
    case .uint32(let value): Int(value)
    case .int32(let value): Int(value)
    case .uint64(let value): Int(exactly: value)
    case .int64(let value): Int(exactly: value)
    default: nil
    }
  }

  /// The number, or nil when this is neither a float nor an integer.
  ///
  /// A single becomes the double with the same shortest decimal spelling (`1e-05` instead of
  /// `9.999999747378752e-06`), which rounds to the same single and is the value that was meant.
  public var doubleValue: Double? {
    switch self {
    case .float32(let value): Double(value.description) ?? Double(value)
    case .float64(let value): value
    default: intValue.map(Double.init)
    }
  }

  /// The text, or nil when this is not a string.
  public var stringValue: String? {
    if case .string(let value) = self { value } else { nil }
  }

  /// The truth value, or nil when this is not one.
  public var boolValue: Bool? {
    if case .bool(let value) = self { value } else { nil }
  }

  /// The elements, or nil when this is not an array.
  public var arrayValue: [GGUFValue]? {
    if case .array(let value) = self { value } else { nil }
  }
}
