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
  private(set) var bytes: [UInt8]
  /// The pieces from left to right, none overlapping another.
  private(set) var pieces: [Piece]
  /// Whether the first piece begins where the whole input of the tokenizer begins.
  private(set) var startsInput: Bool

  init(_ bytes: [UInt8], startsInput: Bool) {
    self.bytes = bytes
    self.startsInput = startsInput
    pieces = bytes.isEmpty ? [] : [Piece(0, bytes.count)]
  }

  /// Replaces every piece by the pieces that `body` appends for it; empty ones are left out.
  mutating func split(
    _ body: (UnsafeBufferPointer<UInt8>, Piece, inout [Piece]) -> Void
  ) {
    var result: [Piece] = []
    result.reserveCapacity(max(pieces.count, bytes.count / 4))
    let start = pieces.first?.start
    bytes.withUnsafeBufferPointer { bytes in
      for piece in pieces { body(bytes, piece, &result) }
    }
    if result.contains(where: { $0.start >= $0.end }) { result.removeAll { $0.start >= $0.end } }
    if result.first?.start != start { startsInput = false }
    pieces = result
  }

  /// Replaces the text of every piece by what `body` appends for it; empty pieces are left out.
  mutating func rewrite(
    _ body: (_ piece: UnsafeBufferPointer<UInt8>, _ startsInput: Bool, inout [UInt8]) -> Void
  ) {
    var text: [UInt8] = []
    text.reserveCapacity(bytes.count + bytes.count / 2)
    var result: [Piece] = []
    result.reserveCapacity(pieces.count)
    bytes.withUnsafeBufferPointer { bytes in
      for (index, piece) in pieces.enumerated() {
        let start = text.count
        body(bytes.slice(piece.start, piece.end), index == 0 && startsInput, &text)
        if text.count > start { result.append(Piece(start, text.count)) }
      }
    }
    bytes = text
    pieces = result
  }
}
