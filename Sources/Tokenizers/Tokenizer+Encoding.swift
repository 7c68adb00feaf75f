extension Tokenizer {
  /// Turns a text into ids.
  ///
  /// - Parameters:
  ///   - text: The text.
  ///   - addSpecialTokens: Whether the post-processor's special tokens are put around the ids.
  ///   - parseSpecialTokens: Whether special tokens that occur in the text become their ids. Pass
  ///     false for text of strangers, so that it cannot forge the marks of a conversation.
  /// - Returns: The ids.
  /// - Complexity: Linear in the length of the text, n log n in that of its longest word.
  public func encode(
    _ text: String, addSpecialTokens: Bool = true, parseSpecialTokens: Bool = true
  ) -> [Int] {
    text.withBytes {
      encode(
        valid: $0, addSpecialTokens: addSpecialTokens, parseSpecialTokens: parseSpecialTokens)
    }
  }

  /// Turns UTF-8 bytes into ids.
  ///
  /// - Parameters:
  ///   - bytes: The text; what is not UTF-8 is replaced by U+FFFD as Python's `errors="replace"`
  ///     does.
  ///   - addSpecialTokens: Whether the post-processor's special tokens are put around the ids.
  ///   - parseSpecialTokens: Whether special tokens that occur in the text become their ids.
  /// - Returns: The ids.
  public func encode(
    utf8 bytes: some Collection<UInt8>, addSpecialTokens: Bool = true,
    parseSpecialTokens: Bool = true
  ) -> [Int] {
    encode(
      String(decoding: bytes, as: UTF8.self), addSpecialTokens: addSpecialTokens,
      parseSpecialTokens: parseSpecialTokens)
  }

  private func encode(
    valid text: UnsafeBufferPointer<UInt8>, addSpecialTokens: Bool, parseSpecialTokens: Bool
  ) -> [Int] {
    let workspace = workspaces.take()
    defer { workspaces.giveBack(workspace) }
    workspace.ids.removeAll(keepingCapacity: true)
    workspace.measures = false
    forEachSection(
      of: text, ignoringSpecial: !parseSpecialTokens, isTracked: needsOrigins
    ) { section in
      switch section {
      case .token(let id, _): workspace.ids.append(Int32(id))
      case .text(var text):
        for step in preTokenizers { step.apply(to: &text) }
        model.encode(text, with: workspace)
      }
    }
    var ids = workspace.ids.map { Int($0) }
    if addSpecialTokens {
      for processor in postProcessors { ids = processor.process(ids) }
    }
    return ids
  }

  /// A part of a text: an added token and the text that stands for it, or text.
  enum Section {
    case token(id: Int, AlignedText)
    case text(PreTokenizedText)
  }

  /// Cuts a text at its added tokens and normalizes what is between them.
  ///
  /// - Parameters:
  ///   - text: Valid UTF-8.
  ///   - ignoringSpecial: Whether special tokens in the text are plain text.
  ///   - isTracked: Whether the parts know where their bytes come from.
  ///   - body: Is called with every part, from left to right.
  @inline(__always)
  func forEachSection(
    of text: UnsafeBufferPointer<UInt8>, ignoringSpecial: Bool, isTracked: Bool,
    _ body: (Section) -> Void
  ) {
    let sections = added.sections(of: text, normalized: false, ignoringSpecial: ignoringSpecial)
    for section in sections {
      var part = AlignedText(
        text.slice(section.start, section.end), origin: section.start, isTracked: isTracked)
      if let id = section.id {
        body(.token(id: id, part))
        continue
      }
      for normalizer in normalizers { normalizer.normalize(&part) }
      let startsInput = section.start == 0
      if added.hasOnlyRawTokens {
        body(.text(PreTokenizedText(part, startsInput: startsInput)))
        continue
      }
      let normalized = part.bytes.withUnsafeBufferPointer {
        added.sections(of: $0, normalized: true, ignoringSpecial: ignoringSpecial)
      }
      for inner in normalized {
        let whole = inner.start == 0 && inner.end == part.bytes.count
        let innerPart = whole ? part : AlignedText(part, inner.start..<inner.end)
        if let id = inner.id {
          body(.token(id: id, innerPart))
        } else {
          body(
            .text(PreTokenizedText(innerPart, startsInput: startsInput && inner.start == 0)))
        }
      }
    }
  }
}
