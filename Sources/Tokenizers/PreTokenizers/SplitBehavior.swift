/// What becomes of the delimiters at which a text is split.
enum SplitBehavior: String, Sendable {
  case removed = "Removed"
  case isolated = "Isolated"
  case mergedWithPrevious = "MergedWithPrevious"
  case mergedWithNext = "MergedWithNext"
  case contiguous = "Contiguous"

  /// Reads the field `behavior`.
  init(_ component: ComponentReader, default fallback: SplitBehavior? = nil) throws(TokenizerError)
  {
    if component.optional("behavior") == nil, let fallback {
      self = fallback
      return
    }
    let name = try component.string("behavior")
    guard let behavior = SplitBehavior(rawValue: name) else {
      throw component.problem("unknown behavior \"\(name)\"")
    }
    self = behavior
  }

  typealias Piece = PreTokenizedText.Piece

  /// Appends the pieces of a text that is covered by delimiters and the gaps between them.
  func append(_ spans: [(piece: Piece, isDelimiter: Bool)], to result: inout [Piece]) {
    switch self {
    case .isolated:
      for span in spans { result.append(span.piece) }
    case .removed:
      for span in spans where !span.isDelimiter { result.append(span.piece) }
    case .contiguous:
      var last: Bool?
      for span in spans {
        if span.isDelimiter == last {
          result[result.count - 1].end = span.piece.end
        } else {
          result.append(span.piece)
        }
        last = span.isDelimiter
      }
    case .mergedWithPrevious:
      let first = result.count
      var followsDelimiter = false
      for span in spans {
        if span.isDelimiter && !followsDelimiter && result.count > first {
          result[result.count - 1].end = span.piece.end
        } else {
          result.append(span.piece)
        }
        followsDelimiter = span.isDelimiter
      }
    case .mergedWithNext:
      var reversed: [Piece] = []
      var precedesDelimiter = false
      for span in spans.reversed() {
        if span.isDelimiter && !precedesDelimiter && !reversed.isEmpty {
          reversed[reversed.count - 1].start = span.piece.start
        } else {
          reversed.append(span.piece)
        }
        precedesDelimiter = span.isDelimiter
      }
      result.append(contentsOf: reversed.reversed())
    }
  }

  /// Splits at every scalar for which `isDelimiter` holds.
  func split(
    _ text: inout PreTokenizedText, where isDelimiter: (CharacterClasses, UInt32) -> Bool
  ) {
    let table = CharacterTable.shared
    var spans: [(piece: Piece, isDelimiter: Bool)] = []
    text.split { bytes, piece, result in
      spans.removeAll(keepingCapacity: true)
      var gap = piece.start
      var index = piece.start
      while index < piece.end {
        let (value, width) = bytes.scalar(at: index)
        if isDelimiter(table.classes(of: value), value) {
          if gap < index { spans.append((Piece(gap, index), false)) }
          spans.append((Piece(index, index + width), true))
          gap = index + width
        }
        index += width
      }
      if gap < piece.end { spans.append((Piece(gap, piece.end), false)) }
      append(spans, to: &result)
    }
  }
}
