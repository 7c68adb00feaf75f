extension PythonText {
  /// `str.upper`.
  static func upper(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      result.unicodeScalars.append(contentsOf: scalar.properties.uppercaseMapping.unicodeScalars)
    }
    return result
  }

  /// `str.lower`, with the final form of the Greek sigma.
  static func lower(_ text: String) -> String {
    lower(Array(text.unicodeScalars)[...])
  }

  /// `str.lower` of a part of a text, looked at by itself.
  static func lower(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
    var result = ""
    for index in scalars.indices {
      appendLower(index, of: scalars, to: &result)
    }
    return result
  }

  /// `str.title`: a cased letter after an uncased character is title case, others are lower case.
  static func title(_ text: String) -> String {
    let scalars = Array(text.unicodeScalars)[...]
    var result = ""
    var previousIsCased = false
    for index in scalars.indices {
      if previousIsCased {
        appendLower(index, of: scalars, to: &result)
      } else {
        let mapping = scalars[index].properties.titlecaseMapping
        result.unicodeScalars.append(contentsOf: mapping.unicodeScalars)
      }
      previousIsCased = isCased(scalars[index])
    }
    return result
  }

  /// `str.capitalize`.
  static func capitalize(_ text: String) -> String {
    let scalars = Array(text.unicodeScalars)[...]
    var result = ""
    for index in scalars.indices {
      if index == scalars.startIndex {
        let mapping = scalars[index].properties.titlecaseMapping
        result.unicodeScalars.append(contentsOf: mapping.unicodeScalars)
      } else {
        appendLower(index, of: scalars, to: &result)
      }
    }
    return result
  }

  /// `str.swapcase`.
  static func swapCase(_ text: String) -> String {
    let scalars = Array(text.unicodeScalars)[...]
    var result = ""
    for index in scalars.indices {
      let properties = scalars[index].properties
      if properties.isUppercase {
        appendLower(index, of: scalars, to: &result)
      } else if properties.isLowercase {
        result.unicodeScalars.append(contentsOf: properties.uppercaseMapping.unicodeScalars)
      } else {
        result.unicodeScalars.append(scalars[index])
      }
    }
    return result
  }

  /// Jinja's `title` filter: words begin after spaces, hyphens and opening brackets.
  static func titleWords(_ text: String) -> String {
    let scalars = Array(text.unicodeScalars)
    func isBorder(_ scalar: Unicode.Scalar) -> Bool {
      isSpace(scalar) || scalar == "-" || scalar == "(" || scalar == "{" || scalar == "["
        || scalar == "<"
    }
    var result = ""
    var start = 0
    while start < scalars.count {
      let kind = isBorder(scalars[start])
      var end = start + 1
      while end < scalars.count, isBorder(scalars[end]) == kind {
        end += 1
      }
      result += upper(String(scalars[start]))
      result += lower(scalars[(start + 1)..<end])
      start = end
    }
    return result
  }

  /// `str.islower` (`upper` false) and `str.isupper` (`upper` true).
  static func hasOnlyCase(upper wantsUpper: Bool, _ text: String) -> Bool {
    var seen = false
    for scalar in text.unicodeScalars where isCased(scalar) {
      let matches = wantsUpper ? scalar.properties.isUppercase : scalar.properties.isLowercase
      guard matches else { return false }
      seen = true
    }
    return seen
  }

  /// `str.istitle`.
  static func isTitle(_ text: String) -> Bool {
    var seen = false
    var previousIsCased = false
    for scalar in text.unicodeScalars {
      if scalar.properties.isLowercase {
        guard previousIsCased else { return false }
        previousIsCased = true
        seen = true
      } else if isCased(scalar) {
        guard !previousIsCased else { return false }
        previousIsCased = true
        seen = true
      } else {
        previousIsCased = false
      }
    }
    return seen
  }

  private static func appendLower(
    _ index: Int, of scalars: ArraySlice<Unicode.Scalar>, to result: inout String
  ) {
    guard scalars[index].value == 0x3A3 else {
      let mapping = scalars[index].properties.lowercaseMapping
      result.unicodeScalars.append(contentsOf: mapping.unicodeScalars)
      return
    }
    // A sigma is final when a cased letter precedes it and none follows, ignorable ones skipped.
    let before = scalars[..<index].last { !$0.properties.isCaseIgnorable }
    let after = scalars[(index + 1)...].first { !$0.properties.isCaseIgnorable }
    let isFinal = (before.map(isCased) ?? false) && !(after.map(isCased) ?? false)
    result.unicodeScalars.append(isFinal ? "\u{3C2}" : "\u{3C3}")
  }
}
