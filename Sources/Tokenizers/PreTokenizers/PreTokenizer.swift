/// Cuts text into the pieces that the model encodes one by one.
protocol PreTokenizer: Sendable {
  func apply(to text: inout PreTokenizedText)
}

/// The pre-tokenizers that are known, by their `type` in tokenizer.json.
enum PreTokenizers {
  typealias Factory =
    @Sendable (ComponentReader) throws(TokenizerError) -> any PreTokenizer

  static let registry: [String: Factory] = [
    "BertPreTokenizer": { _ throws(TokenizerError) in BertPreTokenizer() },
    "ByteLevel": { component throws(TokenizerError) in try ByteLevelPreTokenizer(component) },
    "CharDelimiterSplit": { component throws(TokenizerError) in
      try CharDelimiterSplitPreTokenizer(component)
    },
    "Digits": { component throws(TokenizerError) in try DigitsPreTokenizer(component) },
    "FixedLength": { component throws(TokenizerError) in try FixedLengthPreTokenizer(component) },
    "Metaspace": { component throws(TokenizerError) in try MetaspacePreTokenizer(component) },
    "Punctuation": { component throws(TokenizerError) in try PunctuationPreTokenizer(component) },
    "Split": { component throws(TokenizerError) in try SplitPreTokenizer(component) },
    "UnicodeScripts": { _ throws(TokenizerError) in UnicodeScriptsPreTokenizer() },
    "Whitespace": { _ throws(TokenizerError) in WhitespacePreTokenizer() },
    "WhitespaceSplit": { _ throws(TokenizerError) in WhitespaceSplitPreTokenizer() },
  ]

  /// Creates the steps of a pre-tokenizer in their order, sequences resolved.
  static func make(_ component: ComponentReader) throws(TokenizerError) -> [any PreTokenizer] {
    let type = try component.type()
    if type == "Sequence" {
      var steps: [any PreTokenizer] = []
      for element in try component.elements("pretokenizers") { steps += try make(element) }
      return steps
    }
    guard let factory = registry[type] else {
      throw component.unknown(type: type, known: Array(registry.keys) + ["Sequence"])
    }
    return [try factory(component)]
  }
}
