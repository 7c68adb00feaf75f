/// Changes a text before it is cut into pieces.
protocol Normalizer: Sendable {
  /// Replaces valid UTF-8 by valid UTF-8.
  func normalize(_ text: inout [UInt8])
}

/// The normalizers that are known, by their `type` in tokenizer.json.
enum Normalizers {
  typealias Factory = @Sendable (ComponentReader) throws(TokenizerError) -> any Normalizer

  static let registry: [String: Factory] = [
    "Lowercase": { _ throws(TokenizerError) in LowercaseNormalizer() },
    "NFC": { _ throws(TokenizerError) in UnicodeNormalizer(form: .composed) },
    "NFD": { _ throws(TokenizerError) in UnicodeNormalizer(form: .decomposed) },
    "NFKC": { _ throws(TokenizerError) in UnicodeNormalizer(form: .compatibilityComposed) },
    "NFKD": { _ throws(TokenizerError) in UnicodeNormalizer(form: .compatibilityDecomposed) },
    "Prepend": { component throws(TokenizerError) in try PrependNormalizer(component) },
    "Replace": { component throws(TokenizerError) in try ReplaceNormalizer(component) },
    "Strip": { component throws(TokenizerError) in try StripNormalizer(component) },
  ]

  /// Creates the steps of a normalizer in their order, sequences resolved.
  static func make(_ component: ComponentReader) throws(TokenizerError) -> [any Normalizer] {
    let type = try component.type()
    if type == "Sequence" {
      var steps: [any Normalizer] = []
      for element in try component.elements("normalizers") { steps += try make(element) }
      return steps
    }
    guard let factory = registry[type] else {
      throw component.unknown(type: type, known: Array(registry.keys) + ["Sequence"])
    }
    return [try factory(component)]
  }
}
