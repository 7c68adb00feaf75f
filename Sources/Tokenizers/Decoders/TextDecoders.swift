/// Joins all texts to one.
struct FuseDecoder: TokenDecoder {
  func decode(_ tokens: [[UInt8]]) -> [[UInt8]] { [Array(tokens.joined())] }
}

/// Replaces the matches of a string or a regular expression in every text.
struct ReplaceDecoder: TokenDecoder {
  private let pattern: TextPattern
  private let content: [UInt8]

  init(_ component: ComponentReader) throws(TokenizerError) {
    pattern = try TextPattern(component.required("pattern"))
    content = Array(try component.string("content").utf8)
  }

  func decode(_ tokens: [[UInt8]]) -> [[UInt8]] {
    tokens.map { token in
      var result: [UInt8] = []
      token.withUnsafeBufferPointer {
        pattern.replaceMatches(in: $0, by: content, into: &result)
      }
      return result
    }
  }
}

/// Removes up to some occurrences of a character from both ends of every text.
struct StripDecoder: TokenDecoder {
  private let content: [UInt8]
  private let start: Int
  private let stop: Int

  init(_ component: ComponentReader) throws(TokenizerError) {
    content = Array(String(try component.scalar("content")).utf8)
    start = try component.integer("start", default: 0)
    stop = try component.integer("stop", default: 0)
  }

  func decode(_ tokens: [[UInt8]]) -> [[UInt8]] {
    tokens.map { token in
      var rest = token[...]
      var count = 0
      while count < start, rest.starts(with: content) {
        rest = rest.dropFirst(content.count)
        count += 1
      }
      count = 0
      while count < stop, rest.count >= content.count, rest.suffix(content.count) == content[...] {
        rest = rest.dropLast(content.count)
        count += 1
      }
      return Array(rest)
    }
  }
}

/// Turns Metaspace's character into spaces; that of the first token into nothing.
struct MetaspaceDecoder: TokenDecoder {
  private let pattern: TextPattern
  private let dropsFirst: Bool

  init(_ component: ComponentReader) throws(TokenizerError) {
    let replacement = try component.scalar("replacement", default: "\u{2581}")
    pattern = .literal(Array(String(replacement).utf8))
    dropsFirst = try MetaspaceScheme(component) != .never
  }

  func decode(_ tokens: [[UInt8]]) -> [[UInt8]] {
    tokens.enumerated().map { index, token in
      var result: [UInt8] = []
      let content = index == 0 && dropsFirst ? [] : [UInt8(ascii: " ")]
      token.withUnsafeBufferPointer {
        pattern.replaceMatches(in: $0, by: content, into: &result)
      }
      return result
    }
  }
}
