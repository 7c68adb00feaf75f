/// Why a JSON text could not be read.
public enum JSONError: Error, Equatable, Sendable {
  /// There is no such file.
  case missing(file: String)
  /// The file is there, but reading it failed.
  case unreadable(file: String, reason: String)
  /// The text is not JSON: the problem, and the byte offset where reading stopped if it is known.
  case malformed(file: String, problem: String, offset: Int?)
  /// Arrays and objects are nested more deeply than `limit`.
  case tooDeep(file: String, limit: Int, offset: Int?)
  /// An object names a key twice, and the caller asked for that to be an error.
  case duplicateKey(file: String, key: String, offset: Int)
}

extension JSONError: CustomStringConvertible {
  /// What is wrong, where, and what to do.
  public var description: String {
    switch self {
    case .missing(let file):
      "\(Self.name(file)): no such file; check the path"
    case .unreadable(let file, let reason):
      "\(Self.name(file)): cannot be read (\(reason)); check its permissions"
    case .malformed(let file, let problem, let offset):
      "\(Self.name(file))\(Self.place(offset)): \(problem); the text is not valid JSON (RFC 8259)"
    case .tooDeep(let file, let limit, let offset):
      "\(Self.name(file))\(Self.place(offset)): arrays and objects are nested more than "
        + "\(limit) deep; such a file is refused"
    case .duplicateKey(let file, let key, let offset):
      "\(Self.name(file))\(Self.place(offset)): the key \"\(key)\" occurs twice in one object; "
        + "remove one of them"
    }
  }

  private static func name(_ file: String) -> String { file.isEmpty ? "JSON text" : file }

  private static func place(_ offset: Int?) -> String { offset.map { ", byte \($0)" } ?? "" }
}
