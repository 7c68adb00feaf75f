extension Tokenizer {
  /// Turns ids back into text.
  ///
  /// - Parameters:
  ///   - ids: The ids; those that are not in the vocabulary are left out.
  ///   - skipSpecialTokens: Whether special tokens are left out.
  /// - Returns: The text; bytes that are no UTF-8 become U+FFFD.
  public func decode(_ ids: some Sequence<Int>, skipSpecialTokens: Bool = false) -> String {
    if decodesBytes {
      var bytes: [UInt8] = []
      for id in ids where isDecoded(id, skippingSpecialTokens: skipSpecialTokens) {
        bytes.append(contentsOf: texts[id])
      }
      return String(decoding: bytes, as: UTF8.self)
    }
    let kept = ids.filter { isDecoded($0, skippingSpecialTokens: skipSpecialTokens) }
    return String(decoding: decodedBytes(of: kept), as: UTF8.self)
  }

  /// Creates a decoder that takes one id at a time.
  ///
  /// - Parameter skipSpecialTokens: Whether special tokens are left out.
  /// - Returns: A decoder at the beginning of a text.
  public func streamingDecoder(skipSpecialTokens: Bool = false) -> StreamingDecoder {
    StreamingDecoder(self, skipsSpecialTokens: skipSpecialTokens)
  }

  /// Whether the id has a token that is not to be skipped.
  func isDecoded(_ id: Int, skippingSpecialTokens: Bool) -> Bool {
    texts.contains(id) && !(skippingSpecialTokens && texts.isSpecial(id))
  }

  /// Whether the text of the id depends on the ids after it: a byte in a run of bytes, and every token
  /// of an early BPE, whose suffix is a space only if another one comes.
  func isHeldBack(_ id: Int) -> Bool {
    if decoders?.contains(where: { $0 is BytePairDecoder }) == true { return true }
    guard decoders?.contains(where: { $0 is ByteFallbackDecoder }) == true else { return false }
    return ByteFallbackDecoder.byte(of: texts[id]) != nil
  }

  /// The text of ids that all have a token, as valid UTF-8.
  func decodedBytes(of ids: [Int]) -> [UInt8] {
    var texts = ids.map { Array(self.texts[$0]) }
    guard let decoders else { return Array(texts.joined(separator: [UInt8(ascii: " ")])) }
    for decoder in decoders { texts = decoder.decode(texts) }
    return Array(texts.joined())
  }
}
