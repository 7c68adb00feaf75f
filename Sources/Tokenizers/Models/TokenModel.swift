/// Turns the pieces that a pre-tokenizer found into ids.
protocol TokenModel: Sendable {
  var vocabulary: Vocabulary { get }

  /// Appends the ids of every piece of the text.
  func encode(_ text: PreTokenizedText, with workspace: EncodingWorkspace)
}

/// The models that are known, by their `type` in tokenizer.json.
enum TokenModels {
  typealias Factory =
    @Sendable (_ component: ComponentReader, _ byteLevel: Bool) throws(TokenizerError)
    -> any TokenModel

  static let registry: [String: Factory] = [
    "BPE": { component, byteLevel throws(TokenizerError) in
      try BytePairModel(component, byteLevel: byteLevel)
    }
  ]

  /// Creates the model that a file describes.
  ///
  /// `byteLevel` says that words are raw bytes which stand for characters of the byte alphabet.
  static func make(
    _ component: ComponentReader, byteLevel: Bool
  ) throws(TokenizerError) -> any TokenModel {
    // Files of early versions leave the type out; only BPE has merges.
    let type =
      try component.optionalString("type") ?? (component.optional("merges") == nil ? "" : "BPE")
    guard let factory = registry[type] else {
      throw component.unknown(type: type, known: registry.keys)
    }
    return try factory(component, byteLevel)
  }
}

/// Memory that encoding reuses, and the cache of words seen; used by one thread at a time.
final class EncodingWorkspace {
  /// The ids of the text so far.
  var ids: [Int32] = []
  let words = WordCache()
  var merging = MergeWorkspace()
}
