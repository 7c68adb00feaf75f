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

/// Keeps what stands between white space, and every punctuation mark on its own.
struct BertPreTokenizer: PreTokenizer {
  func apply(to text: inout PreTokenizedText) {
    let table = CharacterTable.shared
    text.split { bytes, piece, result in
      var start = piece.start
      var index = piece.start
      while index < piece.end {
        let (classes, width) = table.classes(in: bytes, at: index)
        if !classes.isDisjoint(with: [.space, .punctuation]) {
          if start < index { result.append(.init(start, index)) }
          if classes.contains(.punctuation) { result.append(.init(index, index + width)) }
          start = index + width
        }
        index += width
      }
      if start < piece.end { result.append(.init(start, piece.end)) }
    }
  }
}

/// Keeps what stands between occurrences of a character.
struct CharDelimiterSplitPreTokenizer: PreTokenizer {
  private let delimiter: UInt32

  init(_ component: ComponentReader) throws(TokenizerError) {
    delimiter = try component.scalar("delimiter").value
  }

  func apply(to text: inout PreTokenizedText) {
    SplitBehavior.removed.split(&text) { _, value in value == delimiter }
  }
}

/// Cuts the text into pieces of a number of characters.
struct FixedLengthPreTokenizer: PreTokenizer {
  private let length: Int

  init(_ component: ComponentReader) throws(TokenizerError) {
    length = try component.integer("length", default: 5)
    guard length > 0 else {
      throw component.problem("the field \"length\" is \(length), expected at least 1")
    }
  }

  func apply(to text: inout PreTokenizedText) {
    text.split { bytes, piece, result in
      var start = piece.start
      var index = piece.start
      var count = 0
      while index < piece.end {
        index += bytes.scalar(at: index).width
        count += 1
        if count == length || index == piece.end {
          result.append(.init(start, index))
          start = index
          count = 0
        }
      }
    }
  }
}

/// Cuts the text where its script changes; kana count as Han, spaces and unknown scripts as any.
///
/// What stands before the first character of a script is left out, as in the reference.
struct UnicodeScriptsPreTokenizer: PreTokenizer {
  func apply(to text: inout PreTokenizedText) {
    text.split { bytes, piece, result in
      var start: Int?
      var last: UInt8 = UnicodeScriptTable.any
      var index = piece.start
      while index < piece.end {
        let (value, width) = bytes.scalar(at: index)
        let script = UnicodeScriptTable.script(of: value)
        if script != UnicodeScriptTable.any && script != last {
          if let start { result.append(.init(start, index)) }
          start = index
          last = script
        }
        index += width
      }
      if let start { result.append(.init(start, piece.end)) }
    }
  }
}
