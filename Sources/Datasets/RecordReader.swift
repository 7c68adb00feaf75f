public import Foundation
import JSONValues

/// Reads the records of a JSONL file, or of a file that is one JSON array, one after the other.
///
/// One JSON object a line or an element; the format is found from the keys of every line, and formats of one
/// family may be mixed. Elements have the number of the line that they begin on. Lines end with LF or CRLF, the last one may lack its end, blank lines and a
/// byte order mark are skipped. Keys that no format uses are ignored and counted; a key that looks
/// like a slip of the pen is an error. The file is mapped into memory, so its size does not matter.
///
/// ```swift
/// var reader = try RecordReader(path: "train.jsonl")
/// while let record = try reader.next() { ... }
/// ```
public struct RecordReader {
  /// The path as given, used in errors.
  public let file: String
  /// The family of the records so far, or the one that was asked for.
  public private(set) var family: RecordFormat.Family?
  /// How many lines have each format.
  public private(set) var formats: [RecordFormat: Int] = [:]
  /// How many lines have each key that no format uses.
  public private(set) var ignoredKeys: [String: Int] = [:]
  /// Whether `{"prompt"}` alone is a record.
  public let allowsPromptOnly: Bool

  private var source: Source
  private var count = 0

  private enum Source {
    case lines(LineReader.Iterator)
    case elements(ElementReader)

    init(_ reader: LineReader, file: String) {
      if let elements = ElementReader(data: reader.data, file: file) {
        self = .elements(elements)
      } else {
        self = .lines(reader.makeIterator())
      }
    }

    mutating func next() throws(DatasetError) -> LineReader.Line? {
      switch self {
      case .lines(var lines):
        defer { self = .lines(lines) }
        return lines.next()
      case .elements(var elements):
        defer { self = .elements(elements) }
        return try elements.next()
      }
    }
  }

  /// Opens a file.
  ///
  /// - Parameters:
  ///   - path: The JSONL file.
  ///   - family: The task that the records must serve, or nil to take that of the first record.
  ///   - allowsPromptOnly: Whether a prompt needs no completion.
  /// - Throws: `DatasetError.missingFile` or `.unreadableFile`.
  public init(
    path: String, family: RecordFormat.Family? = nil, allowsPromptOnly: Bool = false
  ) throws(DatasetError) {
    file = path
    self.family = family
    self.allowsPromptOnly = allowsPromptOnly
    source = Source(try LineReader(path: path), file: path)
  }

  /// Reads records from memory.
  ///
  /// - Parameters:
  ///   - data: The text, UTF-8.
  ///   - name: What errors call it.
  ///   - family: The task that the records must serve, or nil to take that of the first record.
  ///   - allowsPromptOnly: Whether a prompt needs no completion.
  public init(
    data: Data, name: String = "data", family: RecordFormat.Family? = nil,
    allowsPromptOnly: Bool = false
  ) {
    file = name
    self.family = family
    self.allowsPromptOnly = allowsPromptOnly
    source = Source(LineReader(data: data), file: name)
  }

  /// Reads the next record.
  ///
  /// - Returns: The record, or nil after the last one.
  /// - Throws: `DatasetError`; `.emptyData` when the file ends without any record.
  public mutating func next() throws(DatasetError) -> LocatedRecord? {
    guard let line = try source.next() else {
      if count == 0 { throw .emptyData(path: file) }
      return nil
    }
    let place = RecordLocation(file: file, line: line.number)
    let object = try parse(line, at: place)
    let format = try RecordFormat.detect(object, at: place, allowsPromptOnly: allowsPromptOnly)
    try accept(format, of: object, at: place)
    let record = try DatasetRecord(object, as: format, at: place)
    count += 1
    formats[format, default: 0] += 1
    // Other data sets have names of tasks under this key, which are not used.
    let task = object["task_id"]?.intValue.flatMap { (0...Int(Int32.max)).contains($0) ? $0 : nil }
    for key in object.keys
    where !format.keys.contains(key) && !(key == "task_id" && task != nil) {
      ignoredKeys[key, default: 0] += 1
    }
    return LocatedRecord(record, at: place, task: task)
  }

  /// Reads all records that are left.
  ///
  /// - Returns: The records in the order of the file.
  /// - Throws: `DatasetError` for the first line that is wrong, or when there is no record at all.
  public mutating func readAll() throws(DatasetError) -> [LocatedRecord] {
    var records: [LocatedRecord] = []
    while let record = try next() { records.append(record) }
    return records
  }

  private func parse(_ line: LineReader.Line, at place: RecordLocation) throws(DatasetError)
    -> JSONObject
  {
    let value: JSON
    do {
      value = try JSON.parse(line.bytes, rejectDuplicateKeys: true)
    } catch {
      throw .malformedLine(at: place, reason: reason(error))
    }
    guard let object = value.objectValue else {
      throw .malformedLine(at: place, reason: "found \(typeName(of: value))")
    }
    return object
  }

  private mutating func accept(
    _ format: RecordFormat, of object: JSONObject, at place: RecordLocation
  ) throws(DatasetError) {
    guard let family else {
      self.family = format.family
      return
    }
    guard format.family != family else { return }
    // Texts without labels among texts with labels: say what is missing, not what was found.
    if family == .classification, object["text"] != nil {
      throw .missingKey(at: place, key: "label", found: object.keys)
    }
    throw .incompatibleFormat(
      at: place, expected: "a record for \(family.rawValue) training",
      actual: "\(format.spelling), which is for \(format.family.rawValue)")
  }

  private func reason(_ error: JSONError) -> String {
    let whole = if case .lines = source { "line" } else { "element" }
    return switch error {
    case .malformed(_, let problem, let offset):
      problem + (offset.map { " at byte \($0 + 1) of the \(whole)" } ?? "")
    case .duplicateKey(_, let key, _):
      "the key \"\(key)\" occurs twice"
    default:
      "\(error)"
    }
  }
}
