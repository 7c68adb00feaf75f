import Tokenizers

/// A text whose parts are either given to the model or asked of it.
struct TextSegments {
  /// The whole text in UTF-8.
  var bytes: [UInt8]
  /// What is asked: byte ranges, ascending, apart from each other.
  var asked: [Range<Int>]

  /// A text that begins with what is given and ends with what is asked.
  init(given: String, asked: String) {
    let start = given.utf8.count
    bytes = Array(given.utf8) + Array(asked.utf8)
    self.asked = [start..<bytes.count]
  }

  /// A text with several asked parts.
  init(_ text: String, asked: [Range<Int>]) {
    bytes = Array(text.utf8)
    self.asked = asked.filter { !$0.isEmpty }
  }

  /// The text as tokens without any special ones around.
  ///
  /// The whole text is encoded at once where its tokens end at every border of a part, so that
  /// they are the tokens of the text. Where a token reaches across a border, every part is encoded
  /// alone: so it is when the model is asked, for it gets the tokens of the given part and writes
  /// its own after them.
  ///
  /// - Returns: The tokens, the token ranges of the asked parts, and whether tokens would merge.
  func encoded(
    with tokenizer: Tokenizer
  ) -> (ids: [Int], asked: [Range<Int>], mergesAcross: Bool) {
    let cuts = Set(asked.flatMap { [$0.lowerBound, $0.upperBound] })
      .subtracting([0, bytes.count]).sorted()
    let whole = ids(of: 0..<bytes.count, tokenizer)
    guard !cuts.isEmpty else {
      return (whole, asked.isEmpty ? [] : [0..<whole.count], false)
    }
    // The cheap test first: most texts are the sum of their parts.
    var parts: [Int] = []
    var borders = [0: 0]
    for (start, end) in zip([0] + cuts, cuts + [bytes.count]) {
      parts += ids(of: start..<end, tokenizer)
      borders[end] = parts.count
    }
    if parts == whole { return (whole, ranges(borders), false) }
    // A tokenizer may treat the start of a text apart; then only the beginnings can be compared.
    var beginnings = [0: 0, bytes.count: whole.count]
    for cut in cuts {
      let beginning = ids(of: 0..<cut, tokenizer)
      guard whole.starts(with: beginning) else { return (parts, ranges(borders), true) }
      beginnings[cut] = beginning.count
    }
    return (whole, ranges(beginnings), false)
  }

  private func ids(of range: Range<Int>, _ tokenizer: Tokenizer) -> [Int] {
    tokenizer.encode(utf8: bytes[range], addSpecialTokens: false)
  }

  private func ranges(_ borders: [Int: Int]) -> [Range<Int>] {
    asked.map { range in
      let start = borders[range.lowerBound] ?? 0
      return start..<max(start, borders[range.upperBound] ?? start)
    }
  }
}
