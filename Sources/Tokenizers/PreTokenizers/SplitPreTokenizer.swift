/// Splits text at the matches of a string or a regular expression, or at what is between them.
struct SplitPreTokenizer: PreTokenizer {
  private let pattern: TextPattern
  private let scanner: WordScanner?
  private let behavior: SplitBehavior
  private let inverts: Bool

  init(_ component: ComponentReader) throws(TokenizerError) {
    let reader = try component.required("pattern")
    behavior = try SplitBehavior(component)
    inverts = try component.bool("invert", default: false)
    pattern = try TextPattern(reader)
    // A scanner's matches cover the text, so keeping them is the same as isolating them.
    let keepsMatches = behavior == .isolated || (behavior == .removed && inverts)
    let expression = try reader.optionalString("Regex")
    scanner = keepsMatches ? expression.flatMap { WordScanner(pattern: $0) } : nil
  }

  func apply(to text: inout PreTokenizedText) {
    if let scanner {
      scanner.split(&text)
      return
    }
    var spans: [(piece: PreTokenizedText.Piece, isDelimiter: Bool)] = []
    text.split { bytes, piece, result in
      spans.removeAll(keepingCapacity: true)
      var gap = piece.start
      pattern.forEachMatch(in: bytes.slice(piece.start, piece.end)) { start, end in
        let start = start + piece.start
        let end = end + piece.start
        if gap < start { spans.append((.init(gap, start), inverts)) }
        spans.append((.init(start, end), !inverts))
        gap = end
      }
      if gap < piece.end { spans.append((.init(gap, piece.end), inverts)) }
      behavior.append(spans, to: &result)
    }
  }
}
