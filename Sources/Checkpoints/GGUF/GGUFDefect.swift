/// What makes a file an invalid GGUF file.
public enum GGUFDefect: Error, Equatable, Sendable {
  /// The file does not begin with the letters `GGUF`.
  case magic
  /// The version is not one that is read here.
  case version(found: UInt32, supported: [UInt32])
  /// The file is written for the other byte order.
  case byteOrder
  /// The file ends inside something.
  case truncated(what: String, offset: Int, needed: UInt64, available: Int)
  /// A number of tensors, entries, elements or bytes cannot fit into the file.
  case count(what: String, found: UInt64, available: Int)
  /// A text is not UTF-8.
  case notUTF8(what: String, offset: Int)
  /// A metadata value has a type that the format does not know.
  case valueType(key: String, found: UInt32)
  /// Arrays are nested too deeply.
  case nesting(key: String, limit: Int)
  /// A metadata key or a tensor name occurs twice.
  case duplicate(what: String)
  /// The alignment is not a power of two, or not an unsigned integer.
  case alignment(found: String)
  /// A tensor has too many axes.
  case rank(tensor: String, found: UInt32, limit: Int)
  /// A tensor's type is unknown.
  case tensorType(tensor: String, found: UInt32)
  /// The number of elements or bytes of a tensor overflows.
  case shapeOverflow(tensor: String, extents: [UInt64])
  /// A tensor's rows are no multiple of the block size of its type.
  case rowLength(tensor: String, type: GGUFTensorType, found: Int, blockSize: Int)
  /// A tensor's data does not begin at a multiple of the alignment.
  case misaligned(tensor: String, offset: UInt64, alignment: Int)
  /// A tensor's data reaches past the end of the file.
  case outOfRange(tensor: String, end: UInt64, available: Int)
  /// A tensor's data begins inside the data of another.
  case overlap(tensor: String, previous: String)
}

extension GGUFDefect: CustomStringConvertible {
  /// One phrase that names the place and both values.
  public var description: String {
    switch self {
    case .magic: "it does not begin with \"GGUF\""
    case .version(let found, let supported):
      "version \(found) is not supported; supported: "
        + supported.map(String.init).joined(separator: ", ")
    case .byteOrder: "it is written for big-endian machines; convert it to little-endian first"
    case .truncated(let what, let offset, let needed, let available):
      "\(what) at byte \(offset) takes \(needed) bytes, but \(available) remain (truncated file?)"
    case .count(let what, let found, let available):
      "\(what) is \(found), more than the remaining \(available) bytes can hold"
    case .notUTF8(let what, let offset): "\(what) at byte \(offset) is not UTF-8"
    case .valueType(let key, let found): "the value of \(quoted(key)) has unknown type \(found)"
    case .nesting(let key, let limit): "arrays of \(quoted(key)) are nested more than \(limit) deep"
    case .duplicate(let what): "\(what) occurs twice"
    case .alignment(let found): "general.alignment is \(found), expected a power of two"
    case .rank(let tensor, let found, let limit):
      "tensor \(quoted(tensor)) has \(found) axes, more than \(limit)"
    case .tensorType(let tensor, let found):
      "tensor \(quoted(tensor)) has unknown type \(found); known: "
        + GGUFTensorType.allCases.map(\.name).joined(separator: ", ")
    case .shapeOverflow(let tensor, let extents):
      "tensor \(quoted(tensor)): extents \(extents) overflow"
    case .rowLength(let tensor, let type, let found, let blockSize):
      "tensor \(quoted(tensor)): rows of \(found) elements are no multiple of the \(blockSize) of a"
        + " \(type.name) block"
    case .misaligned(let tensor, let offset, let alignment):
      "tensor \(quoted(tensor)) begins at \(offset), no multiple of the alignment \(alignment)"
    case .outOfRange(let tensor, let end, let available):
      "tensor \(quoted(tensor)): data ends at \(end), but the file holds \(available) data bytes"
        + " (truncated file?)"
    case .overlap(let tensor, let previous):
      "tensor \(quoted(tensor)) begins inside tensor \(quoted(previous))"
    }
  }
}
