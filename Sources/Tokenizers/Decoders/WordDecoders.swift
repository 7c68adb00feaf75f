/// Puts spaces between words and none before the tokens that go on with a word.
struct WordPieceDecoder: TokenDecoder {
  private let prefix: [UInt8]
  private let cleansUp: Bool

  init(_ component: ComponentReader) throws(TokenizerError) {
    prefix = Array(try component.string("prefix").utf8)
    cleansUp = try component.bool("cleanup", default: true)
  }

  func decode(_ tokens: [[UInt8]]) -> [[UInt8]] {
    tokens.enumerated().map { index, token in
      var text = token
      if index > 0 {
        if text.starts(with: prefix) {
          text.removeFirst(prefix.count)
        } else {
          text.insert(UInt8(ascii: " "), at: 0)
        }
      }
      return cleansUp ? EnglishSpacing.cleaned(text) : text
    }
  }
}

/// Joins the words of an early BPE: its suffix becomes a space, at the end nothing.
struct BytePairDecoder: TokenDecoder {
  private let suffix: TextPattern

  init(_ component: ComponentReader) throws(TokenizerError) {
    suffix = .literal(Array(try component.string("suffix").utf8))
  }

  func decode(_ tokens: [[UInt8]]) -> [[UInt8]] {
    tokens.enumerated().map { index, token in
      let content = index == tokens.count - 1 ? [] : [UInt8(ascii: " ")]
      return suffix.replacing(in: token, by: content)
    }
  }
}

/// Reads what a model of connectionist temporal classification wrote: repetitions and pads go.
struct CTCDecoder: TokenDecoder {
  private let pad: TextPattern
  private let delimiter: TextPattern
  private let cleansUp: Bool

  init(_ component: ComponentReader) throws(TokenizerError) {
    pad = .literal(Array(try component.string("pad_token").utf8))
    delimiter = .literal(Array(try component.string("word_delimiter_token").utf8))
    cleansUp = try component.bool("cleanup", default: true)
  }

  func decode(_ tokens: [[UInt8]]) -> [[UInt8]] {
    var result: [[UInt8]] = []
    for (index, token) in tokens.enumerated() where index == 0 || token != tokens[index - 1] {
      var text = pad.replacing(in: token, by: [])
      if cleansUp {
        text = delimiter.replacing(
          in: EnglishSpacing.cleaned(text), by: [UInt8(ascii: " ")])
      }
      if !text.isEmpty { result.append(text) }
    }
    return result
  }
}

/// Takes back the spaces before punctuation and in English contractions.
enum EnglishSpacing {
  private static let replacements: [(TextPattern, [UInt8])] = [
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"),
    (" 'm", "'m"), (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
  ].map { (.literal(Array($0.utf8)), Array($1.utf8)) }

  static func cleaned(_ text: [UInt8]) -> [UInt8] {
    guard text.contains(UInt8(ascii: " ")) else { return text }
    return replacements.reduce(text) { $1.0.replacing(in: $0, by: $1.1) }
  }
}
