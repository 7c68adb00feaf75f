/// Hand-written matchers for the regular expressions that most byte-level tokenizers use.
///
/// They match what Oniguruma matches with Unicode 16, character by character, several times faster
/// than a regular expression engine, and cover the whole text: every scalar belongs to a match.
enum WordScanner: Sendable, Equatable {
  /// The expression of GPT-2.
  case gpt2
  /// The expression of Llama 3, or with another limit on the digits of a number that of Qwen2.
  case llama3(digits: Int)

  static let gpt2Pattern =
    #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  /// The scanner of a regular expression, or nil when there is none.
  init?(pattern: String) {
    let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
    let letters = #"[^\r\n\p{L}\p{N}]?\p{L}+|"#
    let rest = #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    switch pattern {
    case Self.gpt2Pattern: self = .gpt2
    case contractions + letters + #"\p{N}{1,3}"# + rest: self = .llama3(digits: 3)
    case contractions + letters + #"\p{N}"# + rest: self = .llama3(digits: 1)
    default: return nil
    }
  }

  /// Replaces every piece of the text by the words in it.
  func split(_ text: inout PreTokenizedText) {
    let table = CharacterTable.shared
    text.split { bytes, piece, result in
      let scan = Scan(text: bytes, end: piece.end, table: table)
      var start = piece.start
      switch self {
      case .gpt2:
        while start < piece.end {
          let end = scan.gpt2Word(start)
          result.append(.init(start, end))
          start = end
        }
      case .llama3(let digits):
        while start < piece.end {
          let end = scan.llama3Word(start, digits: digits)
          result.append(.init(start, end))
          start = end
        }
      }
    }
  }
}

/// One text in which words are searched; each function returns the end of what starts at `start`.
private struct Scan {
  let text: UnsafeBufferPointer<UInt8>
  let end: Int
  let table: CharacterTable

  private static let space = UInt8(ascii: " ")

  @inline(__always)
  func gpt2Word(_ start: Int) -> Int {
    if text[start] == UInt8(ascii: "'"), let end = contraction(start, ignoringCase: false) {
      return end
    }
    var (classes, width) = table.classes(in: text, at: start)
    var from = start
    if text[start] == Self.space {
      // An optional space before the run; without a run it is white space of its own.
      guard start + 1 < end else { return end }
      let next = table.classes(in: text, at: start + 1)
      if next.classes.contains(.space) { return whiteSpace(start) }
      (classes, width) = next
      from += 1
    } else if classes.contains(.space) {
      return whiteSpace(start)
    }
    return run(of: classes, from: from + width)
  }

  @inline(__always)
  func llama3Word(_ start: Int, digits: Int) -> Int {
    let first = text[start]
    if first == UInt8(ascii: "'"), let end = contraction(start, ignoringCase: true) { return end }
    let (classes, width) = table.classes(in: text, at: start)
    if classes.contains(.letter) { return run(of: .letter, from: start + width) }
    if classes.contains(.number) {
      var index = start + width
      var count = 1
      while count < digits && index < end {
        let next = table.classes(in: text, at: index)
        guard next.classes.contains(.number) else { break }
        index += next.width
        count += 1
      }
      return index
    }
    let isBreak = first == UInt8(ascii: "\n") || first == UInt8(ascii: "\r")
    if !isBreak && start + width < end {
      let next = table.classes(in: text, at: start + width)
      if next.classes.contains(.letter) {
        return run(of: .letter, from: start + width + next.width)
      }
      if first == Self.space && next.classes.isDisjoint(with: [.space, .letter, .number]) {
        return lineBreaks(from: run(of: [], from: start + 1 + next.width))
      }
    }
    if classes.contains(.space) { return whiteSpaceWithBreaks(start) }
    return lineBreaks(from: run(of: [], from: start + width))
  }

  /// The end of the run of letters, of numbers, or of what is neither these nor white space.
  @inline(__always)
  private func run(of classes: CharacterClasses, from start: Int) -> Int {
    let kinds: CharacterClasses = [.letter, .number, .space]
    let kind = classes.intersection(kinds)
    var index = start
    while index < end {
      let next = table.classes(in: text, at: index)
      guard next.classes.intersection(kinds) == kind else { break }
      index += next.width
    }
    return index
  }

  /// `\s+(?!\S)|\s+`: the run of white space, but its last scalar only at the end of the text.
  private func whiteSpace(_ start: Int) -> Int {
    let (runEnd, last) = spaces(start)
    return runEnd == end || last == start ? runEnd : last
  }

  /// `\s*[\r\n]+|\s+(?!\S)|\s+`: up to the last line break of the run, or else as above.
  private func whiteSpaceWithBreaks(_ start: Int) -> Int {
    let (runEnd, last) = spaces(start)
    var index = runEnd
    while index > start {
      let byte = text[index - 1]
      if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") { return index }
      index -= 1
    }
    return runEnd == end || last == start ? runEnd : last
  }

  /// The end of the run of white space and the start of its last scalar.
  private func spaces(_ start: Int) -> (end: Int, last: Int) {
    var index = start
    var last = start
    while index < end {
      let next = table.classes(in: text, at: index)
      guard next.classes.contains(.space) else { break }
      last = index
      index += next.width
    }
    return (index, last)
  }

  private func lineBreaks(from start: Int) -> Int {
    var index = start
    while index < end, text[index] == UInt8(ascii: "\n") || text[index] == UInt8(ascii: "\r") {
      index += 1
    }
    return index
  }

  /// The end of `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` or `'d`, or nil.
  private func contraction(_ start: Int, ignoringCase: Bool) -> Int? {
    guard start + 1 < end else { return nil }
    let fold: UInt8 = ignoringCase ? 0x20 : 0
    let first = text[start + 1] | fold
    switch first {
    case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"):
      return start + 2
    case UInt8(ascii: "r"), UInt8(ascii: "v"), UInt8(ascii: "l"):
      guard start + 2 < end else { return nil }
      let expected = first == UInt8(ascii: "l") ? first : UInt8(ascii: "e")
      return text[start + 2] | fold == expected ? start + 3 : nil
    case 0xC5 | fold:
      // U+017F, the long s, is an s when case is ignored.
      guard ignoringCase, start + 2 < end, text[start + 1] == 0xC5, text[start + 2] == 0xBF else {
        return nil
      }
      return start + 3
    default:
      return nil
    }
  }
}
