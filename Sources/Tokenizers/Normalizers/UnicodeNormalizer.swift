import Foundation

/// One of the four normalization forms of Unicode (UAX 15).
struct UnicodeNormalizer: Normalizer {
  enum Form: Sendable {
    case composed, decomposed, compatibilityComposed, compatibilityDecomposed
  }

  let form: Form

  func normalize(_ text: inout [UInt8]) {
    if text.withUnsafeBufferPointer({ isUnchanged($0) }) { return }
    let string = String(decoding: text, as: UTF8.self)
    let result =
      switch form {
      case .composed: string.precomposedStringWithCanonicalMapping
      case .decomposed: string.decomposedStringWithCanonicalMapping
      case .compatibilityComposed: string.precomposedStringWithCompatibilityMapping
      case .compatibilityDecomposed: string.decomposedStringWithCompatibilityMapping
      }
    text = Array(result.utf8)
  }

  /// Whether the text surely is in the form already: a quick check by ranges of scalars that are
  /// neither changed nor combine with a neighbour.
  private func isUnchanged(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
    var index = 0
    while index < text.count {
      if text[index] < 0x80 {
        index += 1
        continue
      }
      let (value, width) = text.scalar(at: index)
      switch value {
      // Ideographs, but not the compatibility ones.
      case 0x3400...0x9FFF: break
      // Accented Latin, some punctuation, kana without its combining marks, Hangul syllables.
      case 0x80..<0x300, 0x2010...0x2023, 0x3000...0x3098, 0x30A0...0x30FE, 0xFF01...0xFFEF:
        if form != .composed { return false }
      default: return false
      }
      index += width
    }
    return true
  }
}
