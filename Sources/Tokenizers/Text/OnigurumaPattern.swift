/// Rewrites a pattern in Oniguruma's (Ruby) syntax for PCRE2.
///
/// `\s`, `\w`, `\h` and their complements become explicit classes, because the engines disagree:
/// PCRE2's `\s` holds U+180E, its `\w` lacks marks, and its `\h` is a blank instead of a digit.
enum OnigurumaPattern {
  private static let space =
    #"\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}"#
    + #"\x{205F}\x{3000}"#
  private static let notSpace =
    #"\x{0}-\x{8}\x{E}-\x{1F}\x{21}-\x{84}\x{86}-\x{9F}\x{A1}-\x{167F}\x{1681}-\x{1FFF}"#
    + #"\x{200B}-\x{2027}\x{202A}-\x{202E}\x{2030}-\x{205E}\x{2060}-\x{2FFF}\x{3001}-\x{10FFFF}"#
  private static let word = #"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}"#
  private static let hexadecimal = "0-9A-Fa-f"

  static func translate(_ pattern: String) throws(RegularExpression.Refusal) -> String {
    let input = Array(pattern.unicodeScalars)
    var output = ""
    var inClass = false
    var index = 0
    while index < input.count {
      let scalar = input[index]
      index += 1
      switch scalar {
      case "\\":
        guard index < input.count else {
          throw .init(reason: "it ends with a backslash")
        }
        output += try escape(input[index], inClass: inClass)
        index += 1
      case "[" where inClass && index < input.count && input[index] == ":":
        output += "["  // a POSIX class such as [:alpha:]
      case "[" where inClass:
        throw .init(reason: "a character class inside a character class is not supported")
      case "[":
        inClass = true
        output += "["
        if index < input.count, input[index] == "^" {
          output += "^"
          index += 1
        }
      case "]" where inClass:
        if index >= 2, input[index - 2] == ":", isPOSIXClass(input, closing: index - 1) {
          output += "]"
        } else {
          inClass = false
          output += "]"
        }
      case "&" where inClass && index < input.count && input[index] == "&":
        throw .init(reason: "an intersection of character classes is not supported")
      default:
        output.unicodeScalars.append(scalar)
      }
    }
    return output
  }

  /// Whether the bracket closes `[:name:]`.
  private static func isPOSIXClass(_ input: [Unicode.Scalar], closing: Int) -> Bool {
    var index = closing - 2
    while index > 0, input[index].properties.isAlphabetic || input[index] == "^" { index -= 1 }
    return index > 0 && input[index] == ":" && input[index - 1] == "["
  }

  private static func escape(
    _ scalar: Unicode.Scalar, inClass: Bool
  ) throws(RegularExpression.Refusal) -> String {
    switch scalar {
    case "s": return inClass ? space : "[" + space + "]"
    case "S": return inClass ? notSpace : "[^" + space + "]"
    case "w": return inClass ? word : "[" + word + "]"
    case "h": return inClass ? hexadecimal : "[" + hexadecimal + "]"
    case "W" where !inClass: return "[^" + word + "]"
    case "H" where !inClass: return "[^" + hexadecimal + "]"
    case "W", "H": throw .init(reason: "\\\(scalar) inside a character class is not supported")
    default:
      return "\\" + String(scalar)
    }
  }
}
