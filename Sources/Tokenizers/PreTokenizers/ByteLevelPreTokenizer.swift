/// Cuts text as GPT-2 does and writes its bytes in the byte alphabet.
struct ByteLevelPreTokenizer: PreTokenizer {
  let addsPrefixSpace: Bool
  let splits: Bool
  /// Whether the bytes are written in the byte alphabet; a model may prefer them raw.
  var writesAlphabet = true

  init(_ component: ComponentReader) throws(TokenizerError) {
    addsPrefixSpace = try component.bool("add_prefix_space", default: true)
    splits = try component.bool("use_regex", default: true)
  }

  func apply(to text: inout PreTokenizedText) {
    if addsPrefixSpace {
      let space = UInt8(ascii: " ")
      text.rewrite { piece, _, writer in
        if writer.old[piece.start] != space { writer.insertBefore(CollectionOfOne(space)) }
        writer.copy(through: piece.end)
      }
    }
    if splits { WordScanner.gpt2.split(&text) }
    if writesAlphabet {
      let scalars = ByteAlphabet.scalars
      text.rewrite { piece, _, writer in
        for index in piece.start..<piece.end {
          writer.replace(through: index + 1, by: scalars[Int(writer.old[index])].utf8)
        }
      }
    }
  }
}
