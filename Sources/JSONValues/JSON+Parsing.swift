import CJSONParser
public import Foundation

extension JSON {
  /// The largest number of nested arrays and objects that is read.
  public static let maximumDepth = 512

  /// Parses one JSON text.
  ///
  /// The grammar is that of RFC 8259: no comments, no trailing commas, no NaN. A byte order mark is
  /// skipped. Integers that do not fit into 64 bits become `.number`. Half of a surrogate pair in
  /// an escape is an error, for it is no text.
  ///
  /// - Parameters:
  ///   - data: The text in UTF-8.
  ///   - file: The name to use in errors.
  ///   - rejectDuplicateKeys: Whether a key that occurs twice is an error; otherwise the later wins.
  /// - Returns: The value.
  /// - Throws: `JSONError` for anything that is not one JSON value.
  public static func parse(
    _ data: Data, file: String = "", rejectDuplicateKeys: Bool = false
  ) throws(JSONError) -> JSON {
    let result = data.withUnsafeBytes { bytes in
      parse(bytes: bytes, file: file, rejectDuplicateKeys: rejectDuplicateKeys)
    }
    return try result.get()
  }

  /// Parses one JSON text.
  ///
  /// - Parameters:
  ///   - text: The text.
  ///   - file: The name to use in errors.
  ///   - rejectDuplicateKeys: Whether a key that occurs twice is an error; otherwise the later wins.
  /// - Returns: The value.
  /// - Throws: `JSONError` for anything that is not one JSON value.
  public static func parse(
    _ text: String, file: String = "", rejectDuplicateKeys: Bool = false
  ) throws(JSONError) -> JSON {
    var text = text
    let result = text.withUTF8 { bytes in
      parse(
        bytes: UnsafeRawBufferPointer(bytes), file: file, rejectDuplicateKeys: rejectDuplicateKeys)
    }
    return try result.get()
  }

  /// Reads a JSON file.
  ///
  /// - Parameters:
  ///   - path: The path of the file.
  ///   - rejectDuplicateKeys: Whether a key that occurs twice is an error; otherwise the later wins.
  /// - Returns: The value.
  /// - Throws: `JSONError` naming the file, when it is missing, unreadable or malformed.
  public static func read(
    path: String, rejectDuplicateKeys: Bool = false
  ) throws(JSONError) -> JSON {
    guard FileManager.default.fileExists(atPath: path) else { throw .missing(file: path) }
    let data: Data
    do {
      data = try Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe)
    } catch {
      throw .unreadable(file: path, reason: error.localizedDescription)
    }
    return try parse(data, file: path, rejectDuplicateKeys: rejectDuplicateKeys)
  }

  private static func parse(
    bytes: UnsafeRawBufferPointer, file: String, rejectDuplicateKeys: Bool
  ) -> Result<JSON, JSONError> {
    let hasMark = bytes.starts(with: [0xEF, 0xBB, 0xBF])
    let text = UnsafeRawBufferPointer(rebasing: bytes.dropFirst(hasMark ? 3 : 0))
    let shift = bytes.count - text.count
    var document: OpaquePointer?
    var place = 0
    let start = text.bindMemory(to: UInt8.self)
    let status = cjson_parse(start.baseAddress, start.count, maximumDepth, &document, &place)
    defer { cjson_free(document) }
    guard status == CJSON_OK else {
      let offset = status == CJSON_BAD_UTF8 ? firstInvalidByte(start) : place
      let known = offset >= 0 && offset <= text.count ? offset + shift : nil
      if status == CJSON_TOO_DEEP {
        return .failure(.tooDeep(file: file, limit: maximumDepth, offset: known))
      }
      return .failure(.malformed(file: file, problem: problem(status), offset: known))
    }
    var count = 0
    var reader = TapeReader(
      events: UnsafeBufferPointer(start: cjson_events(document, &count), count: count),
      rejectDuplicateKeys: rejectDuplicateKeys)
    let value = reader.value()
    if let duplicate = reader.duplicate {
      let offset = duplicate.offset + shift
      return .failure(.duplicateKey(file: file, key: duplicate.key, offset: offset))
    }
    return .success(value)
  }

  private static func problem(_ status: cjson_status) -> String {
    switch status {
    case CJSON_OUT_OF_MEMORY: "not enough memory to parse this much"
    case CJSON_TOO_LARGE: "more than 4 GiB in one value"
    case CJSON_EMPTY: "no value found"
    case CJSON_BAD_STRING: "a string with an invalid escape or half of a surrogate pair"
    case CJSON_BAD_LITERAL: "expected null, true or false"
    case CJSON_BAD_NUMBER: "an invalid number"
    case CJSON_BAD_UTF8: "a byte sequence that is not UTF-8"
    case CJSON_CONTROL_CHARACTER: "an unescaped control character in a string"
    case CJSON_UNCLOSED_STRING: "a string without its closing quote"
    case CJSON_TRUNCATED: "the text ends before its last array or object is closed"
    case CJSON_TRAILING_CONTENT: "something follows the value"
    default: "a missing or superfluous comma, colon, bracket or value"
    }
  }

  /// The offset of the first byte that belongs to no valid sequence.
  private static func firstInvalidByte(_ bytes: UnsafeBufferPointer<UInt8>) -> Int {
    var iterator = bytes.makeIterator()
    var decoder = UTF8()
    var offset = 0
    while case .scalarValue(let scalar) = decoder.decode(&iterator) {
      offset += UTF8.width(scalar)
    }
    return offset
  }
}

/// Builds values from the flat tape.
///
/// The depth of the recursion is bounded by the parser.
private struct TapeReader {
  let events: UnsafeBufferPointer<cjson_event>
  let rejectDuplicateKeys: Bool
  var position = 0
  var duplicate: (key: String, offset: Int)?

  init(events: UnsafeBufferPointer<cjson_event>, rejectDuplicateKeys: Bool) {
    self.events = events
    self.rejectDuplicateKeys = rejectDuplicateKeys
  }

  mutating func value() -> JSON {
    let event = events[position]
    position += 1
    switch cjson_kind(event.kind) {
    case CJSON_FALSE: return .bool(false)
    case CJSON_TRUE: return .bool(true)
    case CJSON_INTEGER: return .integer(Int(event.integer))
    case CJSON_DOUBLE: return .number(event.number)
    case CJSON_DECIMAL: return .number(decimal(text(of: event)))
    case CJSON_STRING: return .string(text(of: event))
    case CJSON_ARRAY:
      var items: [JSON] = []
      items.reserveCapacity(Int(event.length))
      for _ in 0..<event.length { items.append(value()) }
      return .array(items)
    case CJSON_OBJECT:
      var object = JSONObject()
      object.reserveCapacity(Int(event.length))
      for _ in 0..<event.length {
        let key = events[position]
        position += 1
        let name = text(of: key)
        if !object.set(name, to: value()), rejectDuplicateKeys, duplicate == nil {
          duplicate = (name, key.offset)
        }
      }
      return .object(object)
    default: return .null
    }
  }

  private func text(of event: cjson_event) -> String {
    String(
      decoding: UnsafeBufferPointer(start: event.text, count: Int(event.length)), as: UTF8.self)
  }

  /// A valid number beyond the range of `Double` rounds to infinity, one below it to zero.
  private func decimal(_ spelling: String) -> Double {
    Double(spelling) ?? (spelling.hasPrefix("-") ? -.infinity : .infinity)
  }
}
