/// Where a record stands: the file and the line, counted from 1.
public struct RecordLocation: Equatable, Hashable, Sendable, CustomStringConvertible {
  /// The path as the user gave it; a made-up name for records that come from memory.
  public var file: String
  /// The line, counted from 1.
  public var line: Int

  /// A place in a file.
  ///
  /// - Parameters:
  ///   - file: The path.
  ///   - line: The line, counted from 1.
  public init(file: String, line: Int) {
    self.file = file
    self.line = line
  }

  /// The usual `file:line` form.
  public var description: String { "\(file):\(line)" }
}

/// What can be wrong with training data: every message names the place and the remedy.
public enum DatasetError: Error, Equatable, Sendable {
  /// The file is not there.
  case missingFile(path: String)
  /// The file is there but cannot be read.
  case unreadableFile(path: String, reason: String)
  /// The file holds no record.
  case emptyData(path: String)
  /// The line is no JSON object.
  case malformedLine(at: RecordLocation, reason: String)
  /// The keys fit none of the known formats.
  case unknownFormat(at: RecordLocation, keys: [String], suggestion: String?)
  /// A key that the format needs is absent; `found` are the keys that are there.
  case missingKey(at: RecordLocation, key: String, found: [String])
  /// An unused key is so close to a known one that it is surely a slip.
  case misspelledKey(at: RecordLocation, key: String, suggestion: String)
  /// A value has another type than the format says.
  case wrongType(at: RecordLocation, key: String, expected: String, actual: String)
  /// A text that must say something is empty.
  case emptyText(at: RecordLocation, key: String)
  /// A line is for another task than the lines before it, or than the one that was asked for.
  case incompatibleFormat(at: RecordLocation, expected: String, actual: String)
  /// A label is none of those that the model knows.
  case unknownLabel(at: RecordLocation, label: String, known: [String])
  /// The chat template refused the conversation, or there is none.
  case conversation(at: RecordLocation, reason: String)
  /// Every sample was dropped: there is nothing to train on.
  case nothingToTrain(file: String, reason: String)
  /// An option has a value that makes no sense.
  case invalidOption(name: String, expected: String, actual: String)
  /// A saved position belongs to other data or to another batch size.
  case changedData(expected: String, actual: String)

  /// The classes of failure that a command maps to exit codes.
  public enum Kind: Equatable, Sendable {
    /// An input file is not there (exit code 66).
    case missingFile
    /// The data cannot be used as they are (exit code 65).
    case badData
    /// An option is wrong (exit code 64).
    case usage
  }

  /// The class of this failure.
  public var kind: Kind {
    switch self {
    case .missingFile: .missingFile
    case .invalidOption: .usage
    default: .badData
    }
  }
}

extension DatasetError: CustomStringConvertible {
  /// What is wrong, where, and what to do about it.
  public var description: String {
    switch self {
    case .missingFile(let path):
      "\(path): no such file; give the path of a JSONL file"
    case .unreadableFile(let path, let reason):
      "\(path): cannot be read: \(reason)"
    case .emptyData(let path):
      "\(path): empty data: expected at least one JSON object, one a line"
    case .malformedLine(let place, let reason):
      "\(place): expected one JSON object on the line: \(reason)"
    case .unknownFormat(let place, let keys, let suggestion):
      "\(place): found the keys \(Self.list(keys)), which are no known format"
        + (suggestion.map { "; did you mean \($0)?" } ?? "")
        + "; expected one of \(RecordFormat.summary)"
    case .missingKey(let place, let key, let found):
      "\(place): the key \"\(key)\" is missing; found \(Self.list(found))"
    case .misspelledKey(let place, let key, let suggestion):
      "\(place): unknown key \"\(key)\"; did you mean \"\(suggestion)\"?"
    case .wrongType(let place, let key, let expected, let actual):
      "\(place): \"\(key)\" must be \(expected), found \(actual)"
    case .emptyText(let place, let key):
      "\(place): \"\(key)\" is empty; remove the line or fill it in"
    case .incompatibleFormat(let place, let expected, let actual):
      "\(place): expected \(expected), found \(actual); use a file for each task"
    case .unknownLabel(let place, let label, let known):
      "\(place): unknown label \(label); the model knows \(Self.list(known))"
    case .conversation(let place, let reason):
      "\(place): \(reason)"
    case .nothingToTrain(let file, let reason):
      "\(file): empty data: no sample has anything to train on: \(reason)"
    case .invalidOption(let name, let expected, let actual):
      "\(name) must be \(expected), found \(actual)"
    case .changedData(let expected, let actual):
      "the saved position belongs to other data: expected \(expected), found \(actual);"
        + " resume with the same data file, lengths and batch size"
    }
  }

  private static func list(_ names: [String]) -> String {
    let shown = names.prefix(12).map { "\"\($0)\"" }.joined(separator: ", ")
    if names.isEmpty { return "none" }
    return names.count > 12 ? "\(shown) and \(names.count - 12) more" : shown
  }
}
