/// A stretch of text on its way through the pre-tokenizers: its bytes and the pieces found so far.
struct PreTokenizedText {
  /// A stretch of bytes, never empty.
  struct Piece: Equatable {
    var start: Int
    var end: Int

    @inline(__always)
    init(_ start: Int, _ end: Int) {
      self.start = start
      self.end = end
    }
  }

  /// Valid UTF-8, except after the last step of a byte-level tokenizer, where words may cut
  /// characters into bytes.
  private(set) var text: AlignedText
  /// The pieces from left to right, none overlapping another.
  private(set) var pieces: [Piece]
  /// Whether the first piece begins where the whole input of the tokenizer begins.
  private(set) var startsInput: Bool

  init(_ text: AlignedText, startsInput: Bool) {
    self.text = text
    self.startsInput = startsInput
    pieces = text.bytes.isEmpty ? [] : [Piece(0, text.bytes.count)]
  }

  /// Replaces every piece by the pieces that `body` appends for it; empty ones are left out.
  mutating func split(
    _ body: (UnsafeBufferPointer<UInt8>, Piece, inout [Piece]) -> Void
  ) {
    var result: [Piece] = []
    result.reserveCapacity(max(pieces.count, text.bytes.count / 4))
    let start = pieces.first?.start
    text.bytes.withUnsafeBufferPointer { bytes in
      for piece in pieces { body(bytes, piece, &result) }
    }
    if result.contains(where: { $0.start >= $0.end }) { result.removeAll { $0.start >= $0.end } }
    if result.first?.start != start { startsInput = false }
    pieces = result
  }

  /// Rewrites the text of every piece; what stands between pieces goes, and so do empty pieces.
  ///
  /// - Parameter body: Is called with a piece of the old text, whether it begins where the input
  ///   begins, and the writer, whose place is the start of the piece.
  mutating func rewrite(
    _ body: (_ piece: Piece, _ startsInput: Bool, inout TextRewriter) -> Void
  ) {
    var result: [Piece] = []
    result.reserveCapacity(pieces.count)
    let old = text
    text.rewrite { writer in
      for (index, piece) in pieces.enumerated() {
        writer.remove(through: piece.start)
        let start = writer.bytes.count
        let isFirst =
          old.isTracked ? old.spans[piece.start].start == 0 : index == 0 && startsInput
        body(piece, isFirst, &writer)
        if writer.bytes.count > start { result.append(Piece(start, writer.bytes.count)) }
      }
    }
    pieces = result
  }
}
