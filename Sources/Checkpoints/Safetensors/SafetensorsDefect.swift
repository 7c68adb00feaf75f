/// What makes a file an invalid safetensors file.
public enum SafetensorsDefect: Error, Equatable, Sendable {
  /// The file is shorter than the 8 bytes that hold the header's length.
  case tooShort(actual: Int)
  /// The header's length exceeds the format's limit of 100 000 000 bytes.
  case headerTooLong(length: UInt64, limit: Int)
  /// The header reaches past the end of the file.
  case headerPastEnd(length: Int, available: Int)
  /// The header does not begin with an opening brace.
  case headerStart(found: UInt8?)
  /// The header is not JSON, or repeats a key.
  case headerNotJSON(reason: String)
  /// A value of `__metadata__` is not a string, or `__metadata__` is not an object.
  case metadataNotStrings(key: String?)
  /// An entry lacks a field, or the field has a wrong type.
  case field(tensor: String, field: String, expected: String, found: String)
  /// The dtype is not one of the format's.
  case unknownDType(tensor: String, found: String)
  /// The number of bits of the tensor exceeds what an integer holds.
  case shapeOverflow(tensor: String, shape: [Int])
  /// The tensor of a type narrower than a byte does not end at a byte.
  case notWholeBytes(tensor: String, shape: [Int], bitCount: Int)
  /// The tensor's data ends before it begins.
  case offsetsReversed(tensor: String, begin: Int, end: Int)
  /// The tensor's data reaches past the end of the file.
  case outOfRange(tensor: String, end: Int, available: Int)
  /// Shape and dtype demand another number of bytes than the offsets give.
  case byteCount(tensor: String, dtype: SafetensorsDType, shape: [Int], expected: Int, actual: Int)
  /// The tensor's data begins inside the data of another.
  case overlap(tensor: String, previous: String, begin: Int, expected: Int)
  /// Bytes between two tensors, or before the first, belong to none.
  case hole(tensor: String, begin: Int, expected: Int)
  /// Bytes after the last tensor belong to none.
  case trailingBytes(expected: Int, actual: Int)
}

extension SafetensorsDefect: CustomStringConvertible {
  /// One phrase that names the tensor or the field and both values.
  public var description: String {
    switch self {
    case .tooShort(let actual):
      "it has \(actual) bytes, fewer than the 8 of the header's length"
    case .headerTooLong(let length, let limit):
      "the header's length is \(length) bytes, above the limit of \(limit)"
    case .headerPastEnd(let length, let available):
      "the header's length is \(length) bytes, but only \(available) follow (truncated file?)"
    case .headerStart(let found):
      "the header begins with \(found.map { "byte \($0)" } ?? "nothing") instead of '{'"
    case .headerNotJSON(let reason): "the header cannot be read: \(reason)"
    case .metadataNotStrings(nil): "__metadata__ is not an object of strings"
    case .metadataNotStrings(let key?): "the value of __metadata__ key \(quoted(key)) is no string"
    case .field(let tensor, let field, let expected, let found):
      "tensor \(quoted(tensor)): \(field) must be \(expected), found \(found)"
    case .unknownDType(let tensor, let found):
      "tensor \(quoted(tensor)): unknown dtype \(quoted(found)); known: "
        + SafetensorsDType.allCases.map(\.rawValue).joined(separator: ", ")
    case .shapeOverflow(let tensor, let shape):
      "tensor \(quoted(tensor)): shape \(shape) overflows"
    case .notWholeBytes(let tensor, let shape, let bitCount):
      "tensor \(quoted(tensor)): shape \(shape) takes \(bitCount) bits, not whole bytes"
    case .offsetsReversed(let tensor, let begin, let end):
      "tensor \(quoted(tensor)): data_offsets end at \(end), before they begin at \(begin)"
    case .outOfRange(let tensor, let end, let available):
      "tensor \(quoted(tensor)): data ends at \(end), but the file holds \(available) data bytes"
        + " (truncated file?)"
    case .byteCount(let tensor, let dtype, let shape, let expected, let actual):
      "tensor \(quoted(tensor)): \(dtype.rawValue) \(shape) takes \(expected) bytes, "
        + "data_offsets give \(actual)"
    case .overlap(let tensor, let previous, let begin, let expected):
      "tensor \(quoted(tensor)) begins at \(begin), inside tensor \(quoted(previous)), "
        + "which ends at \(expected)"
    case .hole(let tensor, let begin, let expected):
      "tensor \(quoted(tensor)) begins at \(begin), but the data before it ends at \(expected)"
    case .trailingBytes(let expected, let actual):
      "the tensors take \(expected) data bytes, but the file holds \(actual)"
    }
  }
}
