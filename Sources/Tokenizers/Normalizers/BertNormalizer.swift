/// BERT's clean-up: control characters go, ideographs stand alone, accents and capitals may go.
///
/// The steps and their tables are the reference's: general categories of Unicode 8, and the ranges of
/// ideographs of BERT's first release, with the slip 2B920 for 2B820.
struct BertNormalizer: Normalizer {
  private let cleansText: Bool
  private let separatesIdeographs: Bool
  private let stripsAccents: Bool
  private let lowercases: Bool
  private let decompose = UnicodeNormalizer(form: .decomposed)
  private let lowercase = LowercaseNormalizer()

  init(_ component: ComponentReader) throws(TokenizerError) {
    cleansText = try component.bool("clean_text", default: true)
    separatesIdeographs = try component.bool("handle_chinese_chars", default: true)
    lowercases = try component.bool("lowercase", default: true)
    stripsAccents = try component.bool("strip_accents", default: lowercases)
  }

  func normalize(_ text: inout AlignedText) {
    let isASCII = text.isASCII
    if cleansText && !(isASCII && text.bytes.allSatisfy { $0 >= 0x20 && $0 != 0x7F }) {
      text.removeScalars(where: Self.isControl)
      let table = CharacterTable.shared
      text.writeSpaces { $0 != 0x20 && table.classes(of: $0).contains(.space) }
    }
    if !isASCII {
      if separatesIdeographs { separateIdeographs(&text) }
      if stripsAccents {
        decompose.normalize(&text)
        text.removeScalars { $0 >= 0x300 && UnicodeTables.isNonspacingMark8($0) }
      }
    }
    if lowercases { lowercase.normalize(&text) }
  }

  private func separateIdeographs(_ text: inout AlignedText) {
    let space = CollectionOfOne(UInt8(ascii: " "))
    text.rewrite { text in
      var index = 0
      while index < text.old.count {
        let (value, width) = text.old.scalar(at: index)
        if value >= 0x3400 && Self.isIdeograph(value) {
          text.copy(through: index)
          text.insertBefore(space)
          text.copy(through: index + width)
          text.insert(space)
        }
        index += width
      }
      text.copy(through: index)
    }
  }

  /// NUL, U+FFFD and the general categories Cc, Cf and Co of Unicode 8, but not tab and line breaks.
  private static func isControl(_ value: UInt32) -> Bool {
    switch value {
    case 0x09, 0x0A, 0x0D: return false
    case 0x00...0x1F, 0x7F...0x9F, 0xFFFD: return true
    case 0xA0...0xAC, 0x20: return false
    default: return value > 0x7F && CharacterTable.shared.classes(of: value).contains(.format)
    }
  }

  private static func isIdeograph(_ value: UInt32) -> Bool {
    switch value {
    case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F,
      0x2B920...0x2CEAF, 0xF900...0xFAFF, 0x2F800...0x2FA1F:
      true
    default: false
    }
  }
}
