/// What each id stands for when it is decoded, ready to be joined.
struct TokenTexts: Sendable {
  private var arena: [UInt8] = []
  /// The bounds of each id's text in the arena; a start of -1 says that there is no such id.
  private var bounds: [(start: Int32, end: Int32)] = []
  private var special: [Bool] = []

  /// Collects the texts of a vocabulary and of added tokens, which win.
  ///
  /// - Parameters:
  ///   - model: The model's vocabulary.
  ///   - added: The added tokens. One that is searched in normalized text stands for its normalized
  ///     form, and is special if that form is, as in the reference.
  ///   - asBytes: Whether the tokens are kept as the raw bytes that byte-level decoding makes.
  init(model: Vocabulary, added: AddedVocabulary, asBytes: Bool) {
    let upperBound = max(model.upperBound, (added.texts.keys.max() ?? -1) + 1)
    bounds = Array(repeating: (-1, -1), count: upperBound)
    special = Array(repeating: false, count: upperBound)
    arena.reserveCapacity(model.count * 8)
    let decoder = ByteLevelDecoder()
    for id in 0..<upperBound {
      guard let text = added.texts[id] ?? model.bytes(of: id).map({ Array($0) }) else { continue }
      let start = Int32(arena.count)
      text.withUnsafeBufferPointer { text in
        special[id] = added.isSpecial(content: text)
        if asBytes {
          decoder.append(text, to: &arena)
        } else {
          arena.append(contentsOf: text)
        }
      }
      bounds[id] = (start, Int32(arena.count))
    }
  }

  func contains(_ id: Int) -> Bool {
    id >= 0 && id < bounds.count && bounds[id].start >= 0
  }

  /// Whether the text of an id that is here is that of a special token.
  func isSpecial(_ id: Int) -> Bool { special[id] }

  /// The text of an id that is here.
  subscript(id: Int) -> ArraySlice<UInt8> {
    arena[Int(bounds[id].start)..<Int(bounds[id].end)]
  }
}
