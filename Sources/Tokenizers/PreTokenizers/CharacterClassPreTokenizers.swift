/// Cuts numbers out of the text, digit by digit or run by run.
struct DigitsPreTokenizer: PreTokenizer {
  private let behavior: SplitBehavior

  init(_ component: ComponentReader) throws(TokenizerError) {
    behavior =
      try component.bool("individual_digits", default: false) ? .isolated : .contiguous
  }

  func apply(to text: inout PreTokenizedText) {
    behavior.split(&text) { classes, _ in classes.contains(.numeric) }
  }
}

/// Cuts punctuation out of the text: ASCII symbols and the general category P of Unicode 8.
struct PunctuationPreTokenizer: PreTokenizer {
  private let behavior: SplitBehavior

  init(_ component: ComponentReader) throws(TokenizerError) {
    behavior = try SplitBehavior(component, default: .isolated)
  }

  func apply(to text: inout PreTokenizedText) {
    behavior.split(&text) { classes, _ in classes.contains(.punctuation) }
  }
}

/// Keeps what stands between white space.
struct WhitespaceSplitPreTokenizer: PreTokenizer {
  func apply(to text: inout PreTokenizedText) {
    SplitBehavior.removed.split(&text) { classes, _ in classes.contains(.space) }
  }
}

/// Keeps the matches of `\w+|[^\w\s]+`.
struct WhitespacePreTokenizer: PreTokenizer {
  func apply(to text: inout PreTokenizedText) {
    let table = CharacterTable.shared
    text.split { bytes, piece, result in
      var index = piece.start
      var previous: CharacterClasses = .space
      while index < piece.end {
        let (classes, width) = table.classes(in: bytes, at: index)
        // A join control is a word character, white space never is.
        let kind: CharacterClasses =
          classes.contains(.word) ? .word : classes.contains(.space) ? .space : []
        if kind != .space {
          if kind == previous {
            result[result.count - 1].end = index + width
          } else {
            result.append(.init(index, index + width))
          }
        }
        previous = kind
        index += width
      }
    }
  }
}
