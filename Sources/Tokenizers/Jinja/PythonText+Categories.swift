extension PythonText {
  /// The tests that `str.isalpha` and its relatives make of every character.
  static let characterTests: [String: @Sendable (Unicode.Scalar) -> Bool] = [
    "isspace": isSpace,
    "isalpha": isLetter,
    "isdecimal": { $0.properties.numericType == .decimal },
    "isdigit": { $0.properties.numericType == .decimal || $0.properties.numericType == .digit },
    "isnumeric": { $0.properties.numericType != nil },
    "isalnum": { isLetter($0) || $0.properties.numericType != nil },
  ]

  private static func isLetter(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
    default: false
    }
  }

  /// `str.casefold`: lower case, with the letters that fold to several spelled out.
  static func caseFolded(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      let upper = scalar.properties.uppercaseMapping.unicodeScalars
      // A letter whose capital form is longer (a sharp s, a ligature) folds through that form.
      if upper.count > 1 {
        for part in upper {
          result += part.properties.lowercaseMapping
        }
      } else if scalar.value == 0x3C2 {
        result += "\u{3C3}"
      } else {
        result += scalar.properties.lowercaseMapping
      }
    }
    return result
  }
}
