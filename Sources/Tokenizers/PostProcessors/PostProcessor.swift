import JSONValues

/// Puts special tokens around the ids of a text or of a pair.
protocol PostProcessor: Sendable {
  /// How many special tokens come to a text, or to a pair.
  func addedCount(isPair: Bool) -> Int

  /// Processes the encodings of a text or of a pair, or what another processor made of them.
  func process(_ encodings: [Encoding], addSpecialTokens: Bool) -> [Encoding]

  /// The ids of a single text with the special tokens around them.
  func process(_ ids: [Int]) -> [Int]
}

/// The post-processors that are known, by their `type` in tokenizer.json.
enum PostProcessors {
  typealias Factory = @Sendable (ComponentReader) throws(TokenizerError) -> any PostProcessor

  static let registry: [String: Factory] = [
    "BertProcessing": { component throws(TokenizerError) in
      try ClassificationProcessor(component, isRoberta: false)
    },
    "ByteLevel": { component throws(TokenizerError) in try ByteLevelProcessor(component) },
    "RobertaProcessing": { component throws(TokenizerError) in
      try ClassificationProcessor(component, isRoberta: true)
    },
    "TemplateProcessing": { component throws(TokenizerError) in try TemplateProcessor(component) },
  ]

  /// Creates the steps of a post-processor in their order, sequences resolved.
  static func make(_ component: ComponentReader) throws(TokenizerError) -> [any PostProcessor] {
    let type = try component.type()
    if type == "Sequence" {
      var steps: [any PostProcessor] = []
      for element in try component.elements("processors") { steps += try make(element) }
      return steps
    }
    guard let factory = registry[type] else {
      throw component.unknown(type: type, known: Array(registry.keys) + ["Sequence"])
    }
    return [try factory(component)]
  }
}

extension ComponentReader {
  /// `["[CLS]", 101]`.
  func tokenAndID() throws(TokenizerError) -> (token: String, id: Int) {
    let pair = try elements()
    guard pair.count == 2 else { throw problem("expected a token and its id") }
    return (try pair[0].stringValue(), try pair[1].count())
  }
}
