import Foundation

/// Rewrites a pattern in Oniguruma's (Ruby) syntax for PCRE2.
///
/// `\s`, `\w`, `\h` and their complements become explicit classes, because the engines disagree:
/// PCRE2's `\s` holds U+180E, its `\w` lacks marks, and its `\h` is a blank instead of a digit.
/// General categories get the characters that are newer than the installed PCRE2 (see
/// `NewerCharacters`). The option `m`, by which Ruby's dot matches line breaks, is PCRE2's `s`.
enum OnigurumaPattern {
  private static let space =
    #"\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}"#
    + #"\x{205F}\x{3000}"#
  private static let notSpace =
    #"\x{0}-\x{8}\x{E}-\x{1F}\x{21}-\x{84}\x{86}-\x{9F}\x{A1}-\x{167F}\x{1681}-\x{1FFF}"#
    + #"\x{200B}-\x{2027}\x{202A}-\x{202E}\x{2030}-\x{205E}\x{2060}-\x{2FFF}\x{3001}-\x{10FFFF}"#
  /// Superscript digits and fractions of Latin-1 count as word characters in Oniguruma.
  private static let word = #"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE}"#
  private static let digit = #"\p{Nd}"#
  private static let hexadecimal = "0-9A-Fa-f"

  /// Rewrites a pattern.
  ///
  /// - Parameters:
  ///   - pattern: The pattern as the file has it.
  ///   - namesNewerCharacters: Whether classes name the characters that PCRE2 does not know.
  /// - Returns: The pattern for PCRE2.
  /// - Throws: A `Refusal` for what cannot be expressed.
  static func translate(
    _ pattern: String, namesNewerCharacters: Bool = true
  ) throws(RegularExpression.Refusal) -> String {
    let input = Array(pattern.unicodeScalars)
    var output = ""
    /// How many brackets are open: those inside a class add to it.
    var depth = 0
    var index = 0
    while index < input.count {
      let inClass = depth > 0
      let scalar = input[index]
      index += 1
      switch scalar {
      case "\\":
        guard index < input.count else {
          throw .init(reason: "it ends with a backslash")
        }
        if namesNewerCharacters, input[index] == "p" || input[index] == "P",
          let (text, end) = category(input, index, inClass: inClass)
        {
          output += text
          index = end
        } else {
          output += try escape(
            input[index], inClass: inClass, namesNewerCharacters: namesNewerCharacters)
          index += 1
        }
      case "(" where !inClass:
        output += "("
        if let (text, end) = groupOptions(input, index) {
          output += text
          index = end
        }
      case "[" where inClass && index < input.count && input[index] == ":":
        output += "["  // a POSIX class such as [:alpha:]
      case "[" where inClass && index < input.count && input[index] == "^":
        throw .init(reason: "a negated class inside a character class is not supported")
      case "[" where inClass:
        depth += 1
      case "[":
        depth = 1
        output += "["
        if index < input.count, input[index] == "^" {
          output += "^"
          index += 1
        }
      case "]" where inClass:
        if index >= 2, input[index - 2] == ":", isPOSIXClass(input, closing: index - 1) {
          output += "]"
        } else {
          depth -= 1
          if depth == 0 { output += "]" }
        }
      case "&" where inClass && index < input.count && input[index] == "&":
        throw .init(reason: "an intersection of character classes is not supported")
      default:
        output.unicodeScalars.append(scalar)
      }
    }
    return output
  }

  /// The class for `\p{name}`, `\P{name}` or `\p{^name}` at a place, and where it ends; nil for what
  /// needs no change.
  private static func category(
    _ input: [Unicode.Scalar], _ start: Int, inClass: Bool
  ) -> (String, end: Int)? {
    guard start + 1 < input.count, input[start + 1] == "{",
      let close = input[start...].firstIndex(of: "}")
    else { return nil }
    var name = input[(start + 2)..<close]
    var isNegated = input[start] == "P"
    if name.first == "^" {
      isNegated.toggle()
      name = name.dropFirst()
    }
    let text = String(String.UnicodeScalarView(name))
    guard let ranges = NewerCharacters.ranges(ofCategory: text), !ranges.isEmpty else { return nil }
    let whole = "\\p{" + text + "}" + ranges
    if inClass { return isNegated ? nil : (whole, close + 1) }
    return ((isNegated ? "[^" : "[") + whole + "]", close + 1)
  }

  /// The options after `(`, such as `?m:`, as PCRE2 spells them.
  private static func groupOptions(_ input: [Unicode.Scalar], _ start: Int) -> (String, end: Int)? {
    guard start < input.count, input[start] == "?" else { return nil }
    var end = start + 1
    while end < input.count, "imx-".unicodeScalars.contains(input[end]) { end += 1 }
    guard end > start + 1, end < input.count, input[end] == ":" || input[end] == ")" else {
      return nil
    }
    let text = String(String.UnicodeScalarView(input[start..<end]))
    return (text.replacingOccurrences(of: "m", with: "s"), end)
  }

  /// Whether the bracket closes `[:name:]`.
  private static func isPOSIXClass(_ input: [Unicode.Scalar], closing: Int) -> Bool {
    var index = closing - 2
    while index > 0, input[index].properties.isAlphabetic || input[index] == "^" { index -= 1 }
    return index > 0 && input[index] == ":" && input[index - 1] == "["
  }

  private static func escape(
    _ scalar: Unicode.Scalar, inClass: Bool, namesNewerCharacters: Bool
  ) throws(RegularExpression.Refusal) -> String {
    let word = word + (namesNewerCharacters ? NewerCharacters.wordRanges : "")
    let newerDigits = namesNewerCharacters ? NewerCharacters.ranges(ofCategory: "Nd") : nil
    let digit = digit + (newerDigits ?? "")
    switch scalar {
    case "s": return inClass ? space : "[" + space + "]"
    case "S": return inClass ? notSpace : "[^" + space + "]"
    case "w": return inClass ? word : "[" + word + "]"
    case "h": return inClass ? hexadecimal : "[" + hexadecimal + "]"
    case "d": return inClass ? digit : "[" + digit + "]"
    case "D" where !inClass: return "[^" + digit + "]"
    case "W" where !inClass: return "[^" + word + "]"
    case "H" where !inClass: return "[^" + hexadecimal + "]"
    case "W", "H": throw .init(reason: "\\\(scalar) inside a character class is not supported")
    default:
      return "\\" + String(scalar)
    }
  }
}
