extension Tokenizer {
  /// What a token adds to a text behind other tokens.
  ///
  /// Texts that end inside a token, such as stop strings, are found by it. A token may hold part of a
  /// character only.
  ///
  /// - Parameter id: The id.
  /// - Returns: Bytes of UTF-8; none for an id that is not in the vocabulary.
  public func bytes(of id: Int) -> [UInt8] {
    guard texts.contains(id) else { return [] }
    if decodesBytes { return Array(texts[id]) }
    if isHeldBack(id), let byte = ByteFallbackDecoder.byte(of: texts[id]) { return [byte] }
    // Decoders treat the first token of a text and those that end it in their own ways.
    let before = encode("abcdef", addSpecialTokens: false)
    let (start, all) = (decodedBytes(of: before), decodedBytes(of: before + [id]))
    return all.starts(with: start) ? Array(all.dropFirst(start.count)) : Array(texts[id])
  }
}
