extension Tokenizer {
  /// Turns a text or a pair of texts into ids, tokens and offsets.
  ///
  /// The file's own rules for cutting and filling apply only when they are passed, as `truncation`
  /// and `padding` of the tokenizer.
  ///
  /// - Parameters:
  ///   - text: The text, or words.
  ///   - pair: A second text that belongs to the first.
  ///   - addSpecialTokens: Whether the post-processor's special tokens are added.
  ///   - parseSpecialTokens: Whether special tokens that occur in the text become their ids.
  ///   - truncation: How the ids are cut; they are not when it is nil.
  ///   - padding: How the ids are filled up; they are not when it is nil.
  ///   - unit: What offsets count.
  /// - Returns: The encoding.
  /// - Throws: `TokenizerError.impossibleTruncation` when the rule leaves no room or cannot be met.
  public func encoding(
    of text: TokenizerInput, pair: TokenizerInput? = nil, addSpecialTokens: Bool = true,
    parseSpecialTokens: Bool = true, truncation: Truncation? = nil, padding: Padding? = nil,
    unit: OffsetUnit = .scalars
  ) throws(TokenizerError) -> Encoding {
    var encodings = [
      encodeParts(of: text, typeID: 0, parseSpecialTokens: parseSpecialTokens, unit: unit)
    ]
    if let pair {
      encodings.append(
        encodeParts(of: pair, typeID: 1, parseSpecialTokens: parseSpecialTokens, unit: unit))
    }
    if let truncation {
      let reserved = postProcessors.reduce(0) { $0 + $1.addedCount(isPair: pair != nil) }
      try truncation.apply(to: &encodings, reserved: addSpecialTokens ? reserved : 0)
    }
    var result = [process(encodings, addSpecialTokens: addSpecialTokens)]
    padding?.apply(to: &result)
    return result[0]
  }

  private func process(_ encodings: [Encoding], addSpecialTokens: Bool) -> Encoding {
    var parts = encodings
    if postProcessors.isEmpty {
      guard parts.count > 1 else { return parts[0] }
      for index in parts.indices { parts[index].setSequenceID(index) }
      return .joining(parts)
    }
    for index in parts.indices {
      parts[index].setSequenceID(index)
      parts[index].setTypeID(index)
      for part in parts[index].overflowing.indices {
        parts[index].overflowing[part].setSequenceID(index)
      }
    }
    for processor in postProcessors {
      parts = processor.process(parts, addSpecialTokens: addSpecialTokens)
    }
    return .joining(parts)
  }

  private func encodeParts(
    of input: TokenizerInput, typeID: Int, parseSpecialTokens: Bool, unit: OffsetUnit
  ) -> Encoding {
    let workspace = workspaces.take()
    defer { workspaces.giveBack(workspace) }
    workspace.measures = true
    switch input {
    case .text(let text):
      return encode(
        text, typeID: typeID, wordID: nil, parseSpecialTokens: parseSpecialTokens, unit: unit,
        with: workspace)
    case .words(let words):
      return .joining(
        words.enumerated().map { index, word in
          encode(
            word, typeID: typeID, wordID: index, parseSpecialTokens: parseSpecialTokens,
            unit: unit, with: workspace)
        })
    }
  }

  private func encode(
    _ text: String, typeID: Int, wordID: Int?, parseSpecialTokens: Bool, unit: OffsetUnit,
    with workspace: EncodingWorkspace
  ) -> Encoding {
    text.withBytes { bytes in
      var result = Encoding()
      result.reserveCapacity(bytes.count / 3)
      let converter = OffsetConverter(bytes, unit: unit)
      var pieceCount = 0
      forEachSection(of: bytes, ignoringSpecial: !parseSpecialTokens, isTracked: true) { section in
        switch section {
        case .token(let id, let token):
          guard let first = token.spans.first, let last = token.spans.last else { return }
          result.append(
            id: id, token: String(decoding: token.bytes, as: UTF8.self),
            offsets: converter.convert(Int(first.start), Int(last.end)),
            wordID: wordID ?? pieceCount, typeID: typeID)
          pieceCount += 1
        case .text(var text):
          for step in preTokenizers { step.apply(to: &text) }
          for piece in text.pieces {
            append(
              piece, of: text.text, wordID: wordID ?? pieceCount, typeID: typeID, converter,
              to: &result, with: workspace)
            pieceCount += 1
          }
        }
      }
      return result
    }
  }

  private func append(
    _ piece: PreTokenizedText.Piece, of text: AlignedText, wordID: Int, typeID: Int,
    _ converter: OffsetConverter, to result: inout Encoding, with workspace: EncodingWorkspace
  ) {
    workspace.ids.removeAll(keepingCapacity: true)
    workspace.ranges.removeAll(keepingCapacity: true)
    text.bytes.withUnsafeBufferPointer { bytes in
      model.measure(word: bytes.slice(piece.start, piece.end), with: workspace)
    }
    for (id, range) in zip(workspace.ids, workspace.ranges) {
      let id = Int(id)
      let (start, end) = (Int(range.start), Int(range.end))
      let first = piece.start + start
      let token: String
      if range.isLiteral {
        token = String(decoding: text.bytes[first..<piece.start + end], as: UTF8.self)
      } else {
        token = model.vocabulary.withBytes(of: id) { String(decoding: $0, as: UTF8.self) } ?? ""
      }
      let offsets: Encoding.Offsets
      if end > piece.end - piece.start {
        // A model's bytes of a suffix stand for nothing; the reference leaves their range as it is.
        offsets = converter.convert(start, end)
      } else {
        offsets = converter.convert(
          Int(text.spans[first].start), Int(text.spans[piece.start + end - 1].end))
      }
      result.append(id: id, token: token, offsets: offsets, wordID: wordID, typeID: typeID)
    }
  }
}

/// Turns places in bytes into places in characters.
private struct OffsetConverter {
  /// The character of each byte; nil when they are the same.
  private let characters: [Int32]?

  init(_ text: UnsafeBufferPointer<UInt8>, unit: OffsetUnit) {
    guard unit == .scalars, !text.isASCII else {
      characters = nil
      return
    }
    var characters: [Int32] = []
    characters.reserveCapacity(text.count)
    var character: Int32 = -1
    for byte in text {
      if byte & 0xC0 != 0x80 { character += 1 }
      characters.append(character)
    }
    self.characters = characters
  }

  /// As in the reference, what lies outside of the text stays as it is.
  func convert(_ start: Int, _ end: Int) -> Encoding.Offsets {
    guard let characters, start < characters.count else { return .init(start, end) }
    let first = Int(characters[start])
    if end < characters.count { return .init(first, Int(characters[end])) }
    guard end > 0, end - 1 < characters.count else { return .init(first, start + 2) }
    return .init(first, Int(characters[end - 1]) + 1)
  }
}
