extension Tokenizer {
  /// Turns ids back into text.
  ///
  /// - Parameters:
  ///   - ids: The ids; those that are not in the vocabulary are left out.
  ///   - skipSpecialTokens: Whether special tokens are left out.
  /// - Returns: The text; bytes that are no UTF-8 become U+FFFD.
  public func decode(_ ids: some Sequence<Int>, skipSpecialTokens: Bool = false) -> String {
    let kept = ids.filter { isDecoded($0, skippingSpecialTokens: skipSpecialTokens) }
    if decodesBytes {
      var bytes: [UInt8] = []
      for id in kept { appendBytes(of: id, to: &bytes) }
      return String(decoding: bytes, as: UTF8.self)
    }
    return String(decoding: decodedBytes(of: kept), as: UTF8.self)
  }

  /// Creates a decoder that takes one id at a time.
  ///
  /// - Parameter skipSpecialTokens: Whether special tokens are left out.
  /// - Returns: A decoder at the beginning of a text.
  public func streamingDecoder(skipSpecialTokens: Bool = false) -> StreamingDecoder {
    StreamingDecoder(self, skipsSpecialTokens: skipSpecialTokens)
  }

  /// Whether decoding is nothing but joining bytes.
  var decodesBytes: Bool { decoders?.count == 1 && decoders?.first is ByteLevelDecoder }

  /// Whether the id has a token that is not to be skipped.
  func isDecoded(_ id: Int, skippingSpecialTokens: Bool) -> Bool {
    let isSpecial =
      added.vocabulary.withBytes(of: id) { added.isSpecial(content: $0) }
      ?? model.vocabulary.withBytes(of: id) { added.isSpecial(content: $0) }
    guard let isSpecial else { return false }
    return !(skippingSpecialTokens && isSpecial)
  }

  /// Whether the text of the id depends on the ids after it: a byte in a run of bytes.
  func isHeldBack(_ id: Int) -> Bool {
    guard decoders?.contains(where: { $0 is ByteFallbackDecoder }) == true else { return false }
    return tokenBytes(of: id).flatMap { ByteFallbackDecoder.byte(of: $0) } != nil
  }

  /// Appends the raw bytes that a byte-level token stands for.
  func appendBytes(of id: Int, to bytes: inout [UInt8]) {
    let decoder = ByteLevelDecoder()
    let isAdded: Void? = added.vocabulary.withBytes(of: id) { decoder.append($0, to: &bytes) }
    if isAdded == nil { model.vocabulary.withBytes(of: id) { decoder.append($0, to: &bytes) } }
  }

  /// The text of ids that all have a token, as valid UTF-8.
  func decodedBytes(of ids: [Int]) -> [UInt8] {
    var texts = ids.compactMap { tokenBytes(of: $0).map { Array($0) } }
    guard let decoders else { return Array(texts.joined(separator: [UInt8(ascii: " ")])) }
    for decoder in decoders { texts = decoder.decode(texts) }
    return Array(texts.joined())
  }

  private func tokenBytes(of id: Int) -> ArraySlice<UInt8>? {
    added.vocabulary.bytes(of: id) ?? model.vocabulary.bytes(of: id)
  }
}
