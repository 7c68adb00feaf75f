public import Foundation
public import JSONValues

/// Whole files of text turned into ids, or of ids into text, as `graft tokenize` prints them.
public struct TokenizationDocument: Sendable {
  let tokenizer: Tokenizer

  /// Creates the documents of a tokenizer.
  ///
  /// - Parameter tokenizer: The tokenizer.
  public init(_ tokenizer: Tokenizer) {
    self.tokenizer = tokenizer
  }

  /// Encodes one text.
  ///
  /// - Parameters:
  ///   - text: The text.
  ///   - addSpecialTokens: Whether the post-processor's special tokens are added.
  /// - Returns: `{"ids": [...], "tokens": [...]}`.
  public func encoding(of text: String, addSpecialTokens: Bool = true) -> JSON {
    let ids = tokenizer.encode(text, addSpecialTokens: addSpecialTokens)
    let tokens = ids.map { id in tokenizer.token(for: id).map { JSON.string($0) } ?? .null }
    return ["ids": .array(ids.map { .integer($0) }), "tokens": .array(tokens)]
  }

  /// Encodes every line of a file.
  ///
  /// - Parameters:
  ///   - data: The bytes of the file, cut at newlines (byte 10) only; what is not UTF-8 becomes
  ///     U+FFFD.
  ///   - addSpecialTokens: Whether the post-processor's special tokens are added to each line.
  /// - Returns: The ids of each line.
  public func encodings(ofLines data: Data, addSpecialTokens: Bool = true) -> [[Int]] {
    Self.lines(of: data).map { tokenizer.encode(utf8: $0, addSpecialTokens: addSpecialTokens) }
  }

  /// Counts the ids of every line of a file.
  ///
  /// - Parameters:
  ///   - data: The bytes of the file, cut at newlines.
  ///   - addSpecialTokens: Whether the post-processor's special tokens are counted.
  ///   - onAllCores: Whether all processors encode, or one.
  /// - Returns: `{"texts": ..., "ids": ..., "seconds": ...}`, the time of encoding alone.
  public func count(
    ofLines data: Data, addSpecialTokens: Bool = true, onAllCores: Bool = false
  ) -> JSON {
    let texts = Self.lines(of: data).map { String(decoding: $0, as: UTF8.self) }
    let start = ContinuousClock.now
    var count = 0
    if onAllCores {
      for ids in tokenizer.encodeBatch(texts, addSpecialTokens: addSpecialTokens) {
        count += ids.count
      }
    } else {
      for text in texts {
        count += tokenizer.encode(text, addSpecialTokens: addSpecialTokens).count
      }
    }
    let time = (ContinuousClock.now - start).components
    let seconds = Double(time.seconds) + Double(time.attoseconds) * 1e-18
    return ["texts": .integer(texts.count), "ids": .integer(count), "seconds": .number(seconds)]
  }

  /// Decodes a document of ids.
  ///
  /// - Parameters:
  ///   - data: Either `{"ids": [[...], ...]}` or `{"ids": [...]}`, or ids separated by white space,
  ///     a list on each line.
  ///   - file: The name of the document in errors.
  ///   - skipSpecialTokens: Whether special tokens are left out.
  /// - Returns: The text of each list.
  /// - Throws: `TokenizerError` naming what is no id.
  public func texts(
    of data: Data, file: String = "", skipSpecialTokens: Bool = false
  ) throws(TokenizerError) -> [String] {
    try Self.lists(in: data, file: file).map {
      tokenizer.decode($0, skipSpecialTokens: skipSpecialTokens)
    }
  }

  private static func lists(in data: Data, file: String) throws(TokenizerError) -> [[Int]] {
    let isObject = data.first { !" \t\r\n".utf8.contains($0) } == UInt8(ascii: "{")
    guard isObject else {
      var lists: [[Int]] = []
      for (index, line) in lines(of: data).enumerated() {
        // `[1, 2]`, as a single text is printed, and `1 2`.
        let words = String(decoding: line, as: UTF8.self)
          .split { $0.isWhitespace || "[],".contains($0) }
        var ids: [Int] = []
        for word in words {
          guard let id = Int(word) else {
            throw .malformedComponent(
              file: file, component: "line \(index + 1)", problem: "\"\(word)\" is no id")
          }
          ids.append(id)
        }
        lists.append(ids)
      }
      return lists
    }
    let json: JSON
    do {
      json = try JSON.parse(data, file: file)
    } catch {
      throw .json(error)
    }
    let items = try ComponentReader(json, path: "", file: file).elements("ids")
    guard items.first?.json.arrayValue != nil else {
      return items.isEmpty ? [] : [try ids(of: items)]
    }
    var lists: [[Int]] = []
    for item in items { lists.append(try ids(of: try item.elements())) }
    return lists
  }

  static func ids(of items: [ComponentReader]) throws(TokenizerError) -> [Int] {
    var ids: [Int] = []
    for item in items { ids.append(try item.integerValue()) }
    return ids
  }

  /// The lines without their newlines; a newline at the end begins no line.
  static func lines(of data: Data) -> [Data] {
    var lines = data.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    if lines.last?.isEmpty == true { lines.removeLast() }
    return lines
  }
}
