/// Turns the texts of tokens back into text, one step of a chain.
///
/// A chain begins with one text for each token and ends by joining what is left.
protocol TokenDecoder: Sendable {
  /// Maps texts of tokens, valid UTF-8 each, to texts.
  func decode(_ tokens: [[UInt8]]) -> [[UInt8]]
}

/// The decoders that are known, by their `type` in tokenizer.json.
enum TokenDecoders {
  typealias Factory = @Sendable (ComponentReader) throws(TokenizerError) -> any TokenDecoder

  static let registry: [String: Factory] = [
    "BPEDecoder": { component throws(TokenizerError) in try BytePairDecoder(component) },
    "ByteFallback": { _ throws(TokenizerError) in ByteFallbackDecoder() },
    "ByteLevel": { _ throws(TokenizerError) in ByteLevelDecoder() },
    "CTC": { component throws(TokenizerError) in try CTCDecoder(component) },
    "Fuse": { _ throws(TokenizerError) in FuseDecoder() },
    "Metaspace": { component throws(TokenizerError) in try MetaspaceDecoder(component) },
    "Replace": { component throws(TokenizerError) in try ReplaceDecoder(component) },
    "Strip": { component throws(TokenizerError) in try StripDecoder(component) },
    "WordPiece": { component throws(TokenizerError) in try WordPieceDecoder(component) },
  ]

  /// Creates the steps of a decoder in their order, sequences resolved.
  static func make(_ component: ComponentReader) throws(TokenizerError) -> [any TokenDecoder] {
    let type = try component.type()
    if type == "Sequence" {
      var steps: [any TokenDecoder] = []
      for element in try component.elements("decoders") { steps += try make(element) }
      return steps
    }
    guard let factory = registry[type] else {
      throw component.unknown(type: type, known: Array(registry.keys) + ["Sequence"])
    }
    return [try factory(component)]
  }
}
