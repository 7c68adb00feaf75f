/// The added tokens of a tokenizer: their ids and how they are found in a text.
struct AddedVocabulary: Sendable {
  /// A stretch of text, or an added token that was found.
  struct Section: Equatable {
    var start: Int
    var end: Int
    /// The id of the token, or nil for text.
    var id: Int?
  }

  private(set) var vocabulary = Vocabulary()
  private(set) var tokens: [Int: AddedToken] = [:]
  /// What each id stands for: the content as it is searched.
  private(set) var texts: [Int: [UInt8]] = [:]
  private var specialContents = ByteTable()
  private var rawTrie = TokenTrie()
  private var normalizedTrie = TokenTrie()

  /// Assigns ids: that of the model's vocabulary, or else the next one, counted from its size.
  ///
  /// The ids of the file are not looked at, as in the reference.
  init(_ added: [AddedToken], model: Vocabulary, normalizers: [any Normalizer]) {
    var next = model.count
    for token in added where !token.content.isEmpty {
      let id: Int
      if let known = vocabulary.id(of: token.content) ?? model.id(of: token.content) {
        id = known
      } else {
        id = next
        next += 1
      }
      vocabulary.insert(token.content, id: id)
      tokens[id] = token
      if token.isSpecial { token.content.withBytes { _ = specialContents.insert($0) } }
    }
    for (id, token) in tokens.sorted(by: { $0.key < $1.key }) {
      var content = Array(token.content.utf8)
      if token.isNormalized {
        var text = content.withUnsafeBufferPointer {
          AlignedText($0, origin: 0, isTracked: false)
        }
        for normalizer in normalizers { normalizer.normalize(&text) }
        content = text.bytes
        normalizedTrie.insert(content, value: id)
      } else {
        rawTrie.insert(content, value: id)
      }
      texts[id] = content
    }
  }

  /// Whether no token is searched in normalized text.
  var hasOnlyRawTokens: Bool { normalizedTrie.isEmpty }

  func isSpecial(content: String) -> Bool {
    content.withBytes { specialContents.entry(of: $0) != nil }
  }

  func isSpecial(content: UnsafeBufferPointer<UInt8>) -> Bool {
    specialContents.entry(of: content) != nil
  }

  /// Cuts a text at its added tokens.
  ///
  /// - Parameters:
  ///   - text: Valid UTF-8.
  ///   - normalized: Whether the tokens of normalized text are searched, or those of raw text.
  ///   - ignoringSpecial: Whether special tokens in the text are plain text.
  /// - Returns: The sections from left to right; no section of text is empty.
  func sections(
    of text: UnsafeBufferPointer<UInt8>, normalized: Bool, ignoringSpecial: Bool
  ) -> [Section] {
    let trie = normalized ? normalizedTrie : rawTrie
    var sections: [Section] = []
    var textStart = 0
    var position = 0
    while let match = trie.firstMatch(in: text, from: position) {
      position = match.end
      guard let token = tokens[match.value] else { continue }
      if ignoringSpecial && isSpecial(content: token.content) { continue }
      if token.isSingleWord && !isSingleWord(text, match.start, match.end) { continue }
      var start = match.start
      var end = match.end
      if token.stripsLeft { start = max(spaceStart(text, before: start), textStart) }
      if token.stripsRight { end = spaceEnd(text, after: end) }
      if textStart < start { sections.append(Section(start: textStart, end: start, id: nil)) }
      sections.append(Section(start: start, end: end, id: match.value))
      textStart = end
    }
    if textStart < text.count {
      sections.append(Section(start: textStart, end: text.count, id: nil))
    }
    return sections
  }

  private func isSingleWord(
    _ text: UnsafeBufferPointer<UInt8>, _ start: Int, _ end: Int
  ) -> Bool {
    let table = CharacterTable.shared
    if start > 0, table.classes(of: text.scalar(before: start).value).contains(.word) {
      return false
    }
    return end == text.count || !table.classes(in: text, at: end).classes.contains(.word)
  }

  private func spaceStart(_ text: UnsafeBufferPointer<UInt8>, before end: Int) -> Int {
    var start = end
    while start > 0 {
      let (value, width) = text.scalar(before: start)
      guard CharacterTable.shared.classes(of: value).contains(.space) else { break }
      start -= width
    }
    return start
  }

  private func spaceEnd(_ text: UnsafeBufferPointer<UInt8>, after start: Int) -> Int {
    var end = start
    while end < text.count {
      let (classes, width) = CharacterTable.shared.classes(in: text, at: end)
      guard classes.contains(.space) else { break }
      end += width
    }
    return end
  }
}
