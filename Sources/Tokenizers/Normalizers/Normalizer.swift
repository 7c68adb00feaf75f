/// Changes a text before it is cut into pieces.
protocol Normalizer: Sendable {
  /// Replaces valid UTF-8 by valid UTF-8.
  func normalize(_ text: inout AlignedText)
}

/// The normalizers that are known, by their `type` in tokenizer.json.
enum Normalizers {
  typealias Factory = @Sendable (ComponentReader) throws(TokenizerError) -> any Normalizer

  static let registry: [String: Factory] = [
    "BertNormalizer": { component throws(TokenizerError) in try BertNormalizer(component) },
    "ByteLevel": { _ throws(TokenizerError) in ByteLevelNormalizer() },
    "Lowercase": { _ throws(TokenizerError) in LowercaseNormalizer() },
    "NFC": { _ throws(TokenizerError) in UnicodeNormalizer(form: .composed) },
    "NFD": { _ throws(TokenizerError) in UnicodeNormalizer(form: .decomposed) },
    "NFKC": { _ throws(TokenizerError) in UnicodeNormalizer(form: .compatibilityComposed) },
    "NFKD": { _ throws(TokenizerError) in UnicodeNormalizer(form: .compatibilityDecomposed) },
    "Nmt": { _ throws(TokenizerError) in NmtNormalizer() },
    "Precompiled": { component throws(TokenizerError) in try PrecompiledNormalizer(component) },
    "Prepend": { component throws(TokenizerError) in try PrependNormalizer(component) },
    "Replace": { component throws(TokenizerError) in try ReplaceNormalizer(component) },
    "Strip": { component throws(TokenizerError) in try StripNormalizer(component) },
    "StripAccents": { _ throws(TokenizerError) in StripAccentsNormalizer() },
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

extension AlignedText {
  /// Leaves the characters out for which `isRemoved` holds.
  mutating func removeScalars(where isRemoved: (UInt32) -> Bool) {
    rewrite { text in
      var index = 0
      while index < text.old.count {
        let (value, width) = text.old.scalar(at: index)
        if isRemoved(value) {
          text.copy(through: index)
          text.remove(through: index + width)
        }
        index += width
      }
      text.copy(through: index)
    }
  }

  /// Writes a space for every character for which `isSpace` holds.
  mutating func writeSpaces(where isSpace: (UInt32) -> Bool) {
    let space = CollectionOfOne(UInt8(ascii: " "))
    rewrite { text in
      var index = 0
      while index < text.old.count {
        let (value, width) = text.old.scalar(at: index)
        if isSpace(value) {
          text.copy(through: index)
          text.replace(through: index + width, by: space)
        }
        index += width
      }
      text.copy(through: index)
    }
  }

  /// Whether all characters are ASCII.
  var isASCII: Bool {
    bytes.withUnsafeBufferPointer { $0.isASCII }
  }
}
