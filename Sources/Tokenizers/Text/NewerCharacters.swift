import CPCRE2

/// The characters that PCRE2's tables do not know yet and the reference's (Unicode 16) do.
///
/// Patterns name them as ranges beside the general category, so that both engines see the same text.
enum NewerCharacters {
  /// The ranges of a general category such as `L` or `Lu`, as a character class writes them; nil for
  /// other names.
  static func ranges(ofCategory name: String) -> String? {
    guard let first = name.first, "LMNPSZC".contains(first), name.count <= 2 else { return nil }
    guard first != "C" else { return nil }
    return text(characters.filter { $0.category.hasPrefix(name) }.map(\.value))
  }

  /// The ranges of what `\w` matches.
  static let wordRanges = text(
    characters.filter {
      let classes = CharacterClasses.computed(of: $0.value)
      return classes.contains(.word)
    }.map(\.value))

  /// The version of Unicode of the installed PCRE2.
  private static let version: (major: Int, minor: Int) = {
    var buffer = [UInt8](repeating: 0, count: 64)
    guard pcre2_config_8(UInt32(PCRE2_CONFIG_UNICODE_VERSION), nil) <= 64,
      pcre2_config_8(UInt32(PCRE2_CONFIG_UNICODE_VERSION), &buffer) > 0
    else { return (16, 0) }
    let numbers = String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self).split(separator: ".")
      .map { Int($0) ?? 0 }
    return (numbers.first ?? 16, numbers.dropFirst().first ?? 0)
  }()

  private static let characters: [(value: UInt32, category: String)] = {
    guard version < (16, 0) else { return [] }
    var result: [(UInt32, String)] = []
    for value in UInt32(0x0500)..<0x3_2400 {
      guard let scalar = Unicode.Scalar(value), let age = scalar.properties.age,
        (age.major, age.minor) > version, age.major <= 16
      else { continue }
      result.append((value, abbreviation(scalar.properties.generalCategory)))
    }
    return result
  }()

  private static func text(_ values: [UInt32]) -> String {
    var ranges: [ClosedRange<UInt32>] = []
    for value in values {
      if let last = ranges.last, last.upperBound + 1 == value {
        ranges[ranges.count - 1] = last.lowerBound...value
      } else {
        ranges.append(value...value)
      }
    }
    return ranges.map {
      "\\x{" + String($0.lowerBound, radix: 16) + "}"
        + ($0.count > 1 ? "-\\x{" + String($0.upperBound, radix: 16) + "}" : "")
    }.joined()
  }

  private static func abbreviation(_ category: Unicode.GeneralCategory) -> String {
    switch category {
    case .uppercaseLetter: "Lu"
    case .lowercaseLetter: "Ll"
    case .titlecaseLetter: "Lt"
    case .modifierLetter: "Lm"
    case .otherLetter: "Lo"
    case .nonspacingMark: "Mn"
    case .spacingMark: "Mc"
    case .enclosingMark: "Me"
    case .decimalNumber: "Nd"
    case .letterNumber: "Nl"
    case .otherNumber: "No"
    case .connectorPunctuation: "Pc"
    case .dashPunctuation: "Pd"
    case .openPunctuation: "Ps"
    case .closePunctuation: "Pe"
    case .initialPunctuation: "Pi"
    case .finalPunctuation: "Pf"
    case .otherPunctuation: "Po"
    case .mathSymbol: "Sm"
    case .currencySymbol: "Sc"
    case .modifierSymbol: "Sk"
    case .otherSymbol: "So"
    case .spaceSeparator: "Zs"
    case .lineSeparator: "Zl"
    case .paragraphSeparator: "Zp"
    default: "C"
    }
  }
}
