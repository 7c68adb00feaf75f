import JSONValues

extension VocabularyFiles {
  /// The tokens of a `vocab.txt`, one a line; its place is its id, of a doubled one the last.
  ///
  /// White space at the end of a line is no part of the token.
  static func wordList(_ path: String) throws(TokenizerError) -> TokenIDs {
    var ids = TokenIDs()
    for (number, line) in try lines(of: path).enumerated() {
      ids[try text(line, path, number)] = number
    }
    guard ids.count > 0 else { throw problem(path, "the file", "it is empty") }
    return ids
  }

  /// The tokens of a `vocab.json`: an object of tokens and ids.
  static func vocabulary(_ path: String) throws(TokenizerError) -> TokenIDs {
    guard let object = try json(path)?.objectValue else {
      throw problem(path, "the top level", "expected an object of tokens and their ids")
    }
    for (token, id) in object {
      guard let id = id.intValue, (0...Vocabulary.largestID).contains(id) else {
        throw problem(
          path, "the token \(JSON.string(token).serialized())",
          "expected an id from 0 to \(Vocabulary.largestID)")
      }
    }
    return TokenIDs(object)
  }

  /// The merges of a `merges.txt`: two tokens a line with a space between them, best first.
  ///
  /// Lines that begin with `#version` are left out.
  static func merges(_ path: String) throws(TokenizerError) -> [JSON] {
    var merges: [JSON] = []
    for (number, line) in try lines(of: path).enumerated() {
      if line.starts(with: "#version".utf8) { continue }
      let parts = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
      guard parts.count == 2 else {
        throw problem(path, "line \(number + 1)", "expected two tokens with a space between them")
      }
      merges.append([
        .string(try text(parts[0], path, number)), .string(try text(parts[1], path, number)),
      ])
    }
    return merges
  }

  /// The lines of a file, LF or CRLF, without an empty one behind the last end of line.
  private static func lines(of path: String) throws(TokenizerError) -> [ArraySlice<UInt8>] {
    let bytes = try bytes(of: path)
    var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    if lines.last?.isEmpty == true { lines.removeLast() }
    return lines.map { $0.last == UInt8(ascii: "\r") ? $0.dropLast() : $0 }
  }

  /// A part of a line as text, without white space at its end.
  private static func text(
    _ bytes: ArraySlice<UInt8>, _ path: String, _ line: Int
  ) throws(TokenizerError) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw problem(path, "line \(line + 1)", "it is no UTF-8")
    }
    var scalars = Substring(text).unicodeScalars
    while let last = scalars.last, last.properties.isWhitespace { scalars.removeLast() }
    return String(scalars)
  }

  private static func problem(
    _ path: String, _ component: String, _ problem: String
  ) -> TokenizerError {
    .malformedComponent(file: path, component: component, problem: problem)
  }
}

/// Tokens and their ids.
struct TokenIDs {
  private(set) var json: JSONObject

  init(_ json: JSONObject = JSONObject()) { self.json = json }

  /// Tokens by their places; of a doubled one the last counts.
  init(places: some Sequence<String>) {
    self.init()
    for (id, token) in places.enumerated() { self[token] = id }
  }

  var count: Int { json.count }

  subscript(token: String) -> Int? {
    get { json[token]?.intValue }
    set { json[token] = newValue.map(JSON.integer) }
  }
}
