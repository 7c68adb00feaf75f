import Foundation
import JSONValues

/// The header of a safetensors file, parsed and checked against the file's size.
package struct SafetensorsHeader: Sendable {
  /// The longest header that the format allows, in bytes.
  package static let lengthLimit = 100_000_000

  /// The key of the free-form metadata.
  static let metadataKey = "__metadata__"

  /// The tensors in the order of their data, with ranges from the beginning of the file.
  package let entries: [SafetensorsEntry]
  /// The free-form metadata in the order of the header.
  package let metadata: [(key: String, value: String)]

  /// Parses the header of a whole file.
  package init(parsing file: UnsafeRawBufferPointer) throws(SafetensorsDefect) {
    guard file.count >= 8 else { throw .tooShort(actual: file.count) }
    let length = UInt64(littleEndian: file.loadUnaligned(as: UInt64.self))
    guard length <= UInt64(Self.lengthLimit) else {
      throw .headerTooLong(length: length, limit: Self.lengthLimit)
    }
    let headerLength = Int(length)
    guard headerLength <= file.count - 8 else {
      throw .headerPastEnd(length: headerLength, available: file.count - 8)
    }
    let text = UnsafeRawBufferPointer(rebasing: file[8..<8 + headerLength])
    guard let first = text.first, first == UInt8(ascii: "{") else {
      throw .headerStart(found: text.first)
    }
    let fields = try Self.fields(of: text)
    var metadata: [(key: String, value: String)] = []
    var entries: [SafetensorsEntry] = []
    entries.reserveCapacity(fields.count)
    for (name, value) in fields {
      if name.utf8.elementsEqual(Self.metadataKey.utf8) {
        metadata = try Self.metadata(value)
      } else {
        entries.append(try Self.entry(name, value))
      }
    }
    self.entries = try Self.laidOut(entries, dataStart: 8 + headerLength, fileSize: file.count)
    self.metadata = metadata
  }

  private static func fields(
    of text: UnsafeRawBufferPointer
  ) throws(SafetensorsDefect) -> JSONObject {
    do throws(JSONError) {
      let data = Data(text)
      let json = try JSON.parse(data, file: "header", rejectDuplicateKeys: true)
      return json.objectValue ?? JSONObject()
    } catch {
      throw .headerNotJSON(reason: "\(error)")
    }
  }

  private static func metadata(
    _ value: JSON
  ) throws(SafetensorsDefect) -> [(key: String, value: String)] {
    if value.isNull { return [] }
    guard let object = value.objectValue else { throw .metadataNotStrings(key: nil) }
    var pairs: [(key: String, value: String)] = []
    for (key, value) in object {
      guard let text = value.stringValue else { throw .metadataNotStrings(key: key) }
      pairs.append((key, text))
    }
    return pairs
  }

  /// One tensor; the range counts from the beginning of the data.
  private static func entry(_ name: String, _ json: JSON) throws(SafetensorsDefect)
    -> SafetensorsEntry
  {
    guard json.objectValue != nil else {
      throw .field(
        tensor: name, field: "the entry", expected: "an object", found: excerpt(json))
    }
    guard let dtypeName = json["dtype"]?.stringValue else {
      throw .field(
        tensor: name, field: "dtype", expected: "a string", found: excerpt(json["dtype"]))
    }
    guard let dtype = SafetensorsDType(rawValue: dtypeName) else {
      throw .unknownDType(tensor: name, found: dtypeName)
    }
    let shape = try integers(json["shape"], field: "shape", of: name)
    let offsets = try integers(json["data_offsets"], field: "data_offsets", of: name)
    guard offsets.count == 2 else {
      throw .field(
        tensor: name, field: "data_offsets", expected: "two integers",
        found: excerpt(json["data_offsets"]))
    }
    guard offsets[0] <= offsets[1] else {
      throw .offsetsReversed(tensor: name, begin: offsets[0], end: offsets[1])
    }
    let byteCount = try dtype.byteCount(of: shape, tensor: name)
    guard byteCount == offsets[1] - offsets[0] else {
      throw .byteCount(
        tensor: name, dtype: dtype, shape: shape, expected: byteCount,
        actual: offsets[1] - offsets[0])
    }
    return SafetensorsEntry(
      name: name, dtype: dtype, shape: shape, byteRange: offsets[0]..<offsets[1])
  }

  private static func integers(
    _ json: JSON?, field: String, of name: String
  ) throws(SafetensorsDefect) -> [Int] {
    let defect = SafetensorsDefect.field(
      tensor: name, field: field, expected: "an array of non-negative integers",
      found: excerpt(json))
    guard let items = json?.arrayValue else { throw defect }
    var integers: [Int] = []
    for item in items {
      guard let integer = item.intValue, integer >= 0 else { throw defect }
      integers.append(integer)
    }
    return integers
  }

  /// Orders the tensors by their data and checks that they cover it exactly.
  private static func laidOut(
    _ entries: [SafetensorsEntry], dataStart: Int, fileSize: Int
  ) throws(SafetensorsDefect) -> [SafetensorsEntry] {
    let available = fileSize - dataStart
    let ordered = entries.sorted {
      ($0.byteRange.lowerBound, $0.byteRange.upperBound)
        < ($1.byteRange.lowerBound, $1.byteRange.upperBound)
    }
    var end = 0
    var previous = ""
    var result: [SafetensorsEntry] = []
    result.reserveCapacity(ordered.count)
    for entry in ordered {
      let range = entry.byteRange
      if range.upperBound > available {
        throw .outOfRange(tensor: entry.name, end: range.upperBound, available: available)
      }
      if range.lowerBound < end {
        throw .overlap(
          tensor: entry.name, previous: previous, begin: range.lowerBound, expected: end)
      }
      if range.lowerBound > end {
        throw .hole(tensor: entry.name, begin: range.lowerBound, expected: end)
      }
      end = range.upperBound
      previous = entry.name
      result.append(
        SafetensorsEntry(
          name: entry.name, dtype: entry.dtype, shape: entry.shape,
          byteRange: dataStart + range.lowerBound..<dataStart + range.upperBound))
    }
    guard end == available else { throw .trailingBytes(expected: end, actual: available) }
    return result
  }

  /// A short spelling of a value for an error.
  private static func excerpt(_ json: JSON?) -> String {
    guard let json else { return "nothing" }
    let text = json.serialized()
    return text.utf8.count <= 80 ? text : String(text.unicodeScalars.prefix(80)) + "..."
  }
}
