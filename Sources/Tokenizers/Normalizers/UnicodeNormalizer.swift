import Foundation

/// One of the four normalization forms of Unicode (UAX 15), with the tables of Unicode 9.0.
///
/// The reference's tables are that old: a scalar that was assigned later is neither decomposed nor
/// composed nor reordered.
struct UnicodeNormalizer: Normalizer {
  enum Form: Sendable {
    case composed, decomposed, compatibilityComposed, compatibilityDecomposed
  }

  let form: Form

  func normalize(_ text: inout [UInt8]) {
    if text.withUnsafeBufferPointer({ isUnchanged($0) }) { return }
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    // The stretch between two scalars of unknown properties, which nothing crosses.
    var stretch = String.UnicodeScalarView()
    for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
      if scalar.value >= 0x80, isTooNew(scalar) {
        result.append(contentsOf: normalized(String(stretch)).utf8)
        stretch = String.UnicodeScalarView()
        result.append(scalar: scalar)
      } else if let parts = Self.misordered[scalar] {
        stretch.append(contentsOf: parts)
      } else {
        stretch.append(scalar)
      }
    }
    result.append(contentsOf: normalized(String(stretch)).utf8)
    text = result
  }

  /// The three scalars of combining class 0 whose decompositions begin with another class.
  ///
  /// Foundation does not reorder what they decompose to, so they are decomposed here first.
  private static let misordered: [Unicode.Scalar: [Unicode.Scalar]] = [
    "\u{F73}": ["\u{F71}", "\u{F72}"], "\u{F75}": ["\u{F71}", "\u{F74}"],
    "\u{F81}": ["\u{F71}", "\u{F80}"],
  ]

  private func isTooNew(_ scalar: Unicode.Scalar) -> Bool {
    guard let age = scalar.properties.age else { return true }
    return (age.major, age.minor) > (9, 0)
  }

  private func normalized(_ text: String) -> String {
    switch form {
    // Composing alone, Foundation leaves a final jamo after a Hangul syllable uncomposed.
    case .composed:
      text.decomposedStringWithCanonicalMapping.precomposedStringWithCanonicalMapping
    case .decomposed: text.decomposedStringWithCanonicalMapping
    // Foundation leaves some marks of compatibility decompositions out of order; the canonical
    // mapping after it puts them right.
    case .compatibilityComposed:
      text.decomposedStringWithCompatibilityMapping.precomposedStringWithCanonicalMapping
    case .compatibilityDecomposed:
      text.decomposedStringWithCompatibilityMapping.decomposedStringWithCanonicalMapping
    }
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
