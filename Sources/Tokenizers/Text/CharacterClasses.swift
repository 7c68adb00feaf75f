/// The classes of Unicode scalars that tokenizers ask for, in the version of the reference.
///
/// Letters, numbers, marks and word characters follow Unicode 16, as Oniguruma and Rust's regex
/// crate in the reference do; punctuation is frozen at Unicode 8. Scalars that are newer count as
/// unassigned, but for `numeric`. White space is Unicode's property White_Space: 25 scalars,
/// without U+180E.
struct CharacterClasses: OptionSet, Sendable {
  let rawValue: UInt8

  init(rawValue: UInt8) { self.rawValue = rawValue }

  /// General category L.
  static let letter = CharacterClasses(rawValue: 1)
  /// General category N.
  static let number = CharacterClasses(rawValue: 2)
  /// Property White_Space.
  static let space = CharacterClasses(rawValue: 4)
  /// What `\w` matches: Alphabetic, M, Nd, Pc and Join_Control.
  static let word = CharacterClasses(rawValue: 8)
  /// ASCII symbols and general category P of Unicode 8.
  static let punctuation = CharacterClasses(rawValue: 16)
  /// General category N of Unicode 17, by which Rust's `is_numeric` goes.
  static let numeric = CharacterClasses(rawValue: 64)
  /// General category M.
  static let mark = CharacterClasses(rawValue: 32)

  /// General categories Cf and Co of Unicode 8.
  static let format = CharacterClasses(rawValue: 128)

  /// The classes of a scalar, computed from the Swift standard library's tables (Unicode 17).
  static func computed(of value: UInt32) -> CharacterClasses {
    guard let scalar = Unicode.Scalar(value) else { return [] }
    let properties = scalar.properties
    var classes: CharacterClasses = []
    switch properties.generalCategory {
    case .decimalNumber, .letterNumber, .otherNumber: classes.insert(.numeric)
    default: break
    }
    if properties.generalCategory == .privateUse { classes.insert(.format) }
    guard let age = properties.age, age.major <= 16 else { return classes }
    if properties.isWhitespace { classes.insert(.space) }
    if properties.isAlphabetic || properties.isJoinControl { classes.insert(.word) }
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
      classes.insert(.letter)
    case .decimalNumber: classes.formUnion([.number, .word])
    case .letterNumber, .otherNumber: classes.insert(.number)
    case .nonspacingMark, .spacingMark, .enclosingMark: classes.formUnion([.mark, .word])
    case .connectorPunctuation:
      classes.insert(.word)
      if age.major <= 8 { classes.insert(.punctuation) }
    case .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
      .finalPunctuation, .otherPunctuation:
      if age.major <= 8 { classes.insert(.punctuation) }
    case .format where age.major <= 8: classes.insert(.format)
    default:
      break
    }
    switch value {
    // The last two are punctuation in Unicode 8, a symbol and a mark now.
    case 0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E, 0x166D, 0x1_11C9:
      classes.insert(.punctuation)
    default: break
    }
    return classes
  }
}

/// The classes of the basic multilingual plane as a table; other scalars are computed when asked.
final class CharacterTable: Sendable {
  static let shared = CharacterTable()

  private let classes: [CharacterClasses]

  private init() {
    classes = (0..<0x10000).map { CharacterClasses.computed(of: $0) }
  }

  @inline(__always)
  func classes(of value: UInt32) -> CharacterClasses {
    value < 0x10000 ? classes[Int(value)] : CharacterClasses.computed(of: value)
  }

  /// The classes and the width of the scalar at `index`.
  @inline(__always)
  func classes(
    in text: UnsafeBufferPointer<UInt8>, at index: Int
  ) -> (classes: CharacterClasses, width: Int) {
    let lead = text[index]
    if lead < 0x80 { return (classes[Int(lead)], 1) }
    let (value, width) = text.scalar(at: index)
    return (classes(of: value), width)
  }
}
