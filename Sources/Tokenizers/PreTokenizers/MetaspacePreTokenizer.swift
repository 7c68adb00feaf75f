/// Writes spaces as a visible character, SentencePiece's way, and cuts before each of them.
struct MetaspacePreTokenizer: PreTokenizer {
  private let replacement: [UInt8]
  let scheme: MetaspaceScheme
  private let splits: Bool

  init(_ component: ComponentReader) throws(TokenizerError) {
    replacement = Array(String(try component.scalar("replacement", default: "\u{2581}")).utf8)
    scheme = try MetaspaceScheme(component)
    splits = try component.bool("split", default: true)
  }

  func apply(to text: inout PreTokenizedText) {
    let space = UInt8(ascii: " ")
    text.rewrite { piece, startsInput, writer in
      let old = writer.old.slice(piece.start, piece.end)
      let isPrefixed = old.first == space || old.starts(with: replacement)
      if !isPrefixed && (scheme == .always || (scheme == .first && startsInput)) {
        writer.insertBefore(replacement)
      }
      for index in piece.start..<piece.end where writer.old[index] == space {
        writer.copy(through: index)
        writer.replace(through: index + 1, by: replacement)
      }
      writer.copy(through: piece.end)
    }
    guard splits else { return }
    let pattern = TextPattern.literal(replacement)
    var spans: [(piece: PreTokenizedText.Piece, isDelimiter: Bool)] = []
    text.split { bytes, piece, result in
      spans.removeAll(keepingCapacity: true)
      var gap = piece.start
      pattern.forEachMatch(in: bytes.slice(piece.start, piece.end)) { start, end in
        if gap < piece.start + start { spans.append((.init(gap, piece.start + start), false)) }
        spans.append((.init(piece.start + start, piece.start + end), true))
        gap = piece.start + end
      }
      if gap < piece.end { spans.append((.init(gap, piece.end), false)) }
      SplitBehavior.mergedWithNext.append(spans, to: &result)
    }
  }
}

/// Where Metaspace puts its character before a text that does not begin with it.
enum MetaspaceScheme: String, Sendable {
  case always, first, never

  /// Reads `prepend_scheme`, or `add_prefix_space` of older files.
  init(_ component: ComponentReader) throws(TokenizerError) {
    guard let name = try component.optionalString("prepend_scheme") else {
      self = try component.bool("add_prefix_space", default: true) ? .always : .never
      return
    }
    guard let scheme = MetaspaceScheme(rawValue: name) else {
      throw component.problem("unknown prepend_scheme \"\(name)\"")
    }
    self = scheme
  }
}
