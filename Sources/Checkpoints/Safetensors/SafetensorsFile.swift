/// One tensor of a safetensors file.
public struct SafetensorsEntry: Sendable, Equatable {
  /// The name, unique in the file when compared by bytes.
  public let name: String
  /// The element type.
  public let dtype: SafetensorsDType
  /// The extents, outermost first; empty for a scalar.
  public let shape: [Int]
  /// Where the data stands, in bytes from the beginning of the file.
  public let byteRange: Range<Int>

  /// The number of elements.
  public var elementCount: Int { shape.reduce(1, *) }
}

/// A safetensors file, mapped into memory; no tensor is copied.
///
/// Opening reads and checks the whole header: every tensor's data is inside the file, has the size
/// that dtype and shape demand, and the tensors cover the data without gap and overlap. Source of
/// the rules: the format's specification, and version 0.8 of its reference implementation.
///
/// ```
/// [8 bytes: length N of the header, little-endian] [N bytes: JSON] [data]
/// {"__metadata__": {"key": "value"}, "name": {"dtype": "F32", "shape": [2, 3],
///   "data_offsets": [begin, end]}}
/// ```
public final class SafetensorsFile: Sendable {
  /// The mapping that all data points into.
  public let mapping: MappedFile
  /// The tensors in the order of their data.
  public let entries: [SafetensorsEntry]
  /// The free-form metadata in the order of the header.
  public let metadata: [(key: String, value: String)]

  private let positions: [UTF8Key: Int]

  /// The path as it was given.
  public var path: String { mapping.path }

  /// Maps a file and checks its header.
  ///
  /// - Parameter path: the file.
  /// - Throws: ``CheckpointError`` that names the defect, when the file cannot be read or is
  ///   malformed.
  public init(path: String) throws(CheckpointError) {
    mapping = try MappedFile(path: path)
    do throws(SafetensorsDefect) {
      let header = try SafetensorsHeader(parsing: mapping.bytes)
      entries = header.entries
      metadata = header.metadata
    } catch {
      throw .safetensors(path: path, defect: error)
    }
    positions = Dictionary(
      uniqueKeysWithValues: entries.enumerated().map { (UTF8Key($1.name), $0) })
  }

  /// The entry of a tensor, or nil when the file has none of that name.
  ///
  /// - Parameter name: the name, compared by bytes.
  /// - Returns: the entry.
  public subscript(name: String) -> SafetensorsEntry? {
    positions[UTF8Key(name)].map { entries[$0] }
  }

  /// The data of a tensor, not copied: valid as long as this object.
  ///
  /// The elements are little-endian, the last axis varies fastest. The address is aligned to the
  /// element size when the writer padded the header to 8 bytes, which the format does not demand.
  ///
  /// - Parameter entry: one of this file's ``entries``.
  /// - Returns: the bytes.
  public func bytes(of entry: SafetensorsEntry) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: mapping.bytes[entry.byteRange])
  }

  /// The value of a metadata key.
  ///
  /// - Parameter key: the key, compared by bytes.
  /// - Returns: the value, or nil when the file has no such key.
  public func metadataValue(_ key: String) -> String? {
    metadata.first { $0.key.utf8.elementsEqual(key.utf8) }?.value
  }
}

/// A dictionary key that compares strings by their bytes.
///
/// `String` calls precomposed and decomposed letters equal; names in files are distinct then.
package struct UTF8Key: Hashable, Sendable {
  package let text: String

  package init(_ text: String) { self.text = text }

  package static func == (left: UTF8Key, right: UTF8Key) -> Bool {
    left.text.utf8.elementsEqual(right.text.utf8)
  }

  package func hash(into hasher: inout Hasher) {
    var text = text
    text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
  }
}
