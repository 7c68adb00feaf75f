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
    let sections = added.sections(
      of: text, normalized: false, ignoringSpecial: !parseSpecialTokens)
    for section in sections {
      if let id = section.id {
        workspace.ids.append(Int32(id))
        continue
      }
      var bytes = Array(text[section.start..<section.end])
      for normalizer in normalizers { normalizer.normalize(&bytes) }
      let startsInput = section.start == 0
      if added.hasOnlyRawTokens {
        encode(PreTokenizedText(bytes, startsInput: startsInput), with: workspace)
      } else {
        encode(
          normalized: bytes, startsInput: startsInput, ignoringSpecial: !parseSpecialTokens,
          with: workspace)
      }
    }
    let ids = workspace.ids.map { Int($0) }
    return addSpecialTokens ? postProcessor.process(ids) : ids
  }

  private func encode(
    normalized text: [UInt8], startsInput: Bool, ignoringSpecial: Bool,
    with workspace: EncodingWorkspace
  ) {
    text.withUnsafeBufferPointer { bytes in
      let sections = added.sections(
        of: bytes, normalized: true, ignoringSpecial: ignoringSpecial)
      for section in sections {
        if let id = section.id {
          workspace.ids.append(Int32(id))
        } else {
          let part = Array(bytes[section.start..<section.end])
          encode(
            PreTokenizedText(part, startsInput: startsInput && section.start == 0),
            with: workspace)
        }
      }
    }
  }

  private func encode(_ text: PreTokenizedText, with workspace: EncodingWorkspace) {
    var text = text
    for step in preTokenizers { step.apply(to: &text) }
    model.encode(text, with: workspace)
  }
}
