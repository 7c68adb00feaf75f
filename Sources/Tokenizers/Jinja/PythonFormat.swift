import Foundation

/// One field of a format: `%-08.3f` or `{:>8.3f}`.
struct PythonFormat {
  enum Alignment { case left, right, center, afterSign }

  var fill: Unicode.Scalar = " "
  var alignment: Alignment?
  /// What stands before a number that is not negative.
  var positiveSign = ""
  var isAlternate = false
  var grouping: String?
  var width = 0
  var precision: Int?
  var type: Unicode.Scalar?

  /// The text of an integer, or nil when the type is none for integers.
  func text(of number: Int) -> String? {
    let digits: String
    let magnitude = number.magnitude
    switch type {
    case nil, "d", "i", "u", "n": digits = String(magnitude)
    case "x": digits = (isAlternate ? "0x" : "") + String(magnitude, radix: 16)
    case "X": digits = (isAlternate ? "0X" : "") + String(magnitude, radix: 16, uppercase: true)
    case "o": digits = (isAlternate ? "0o" : "") + String(magnitude, radix: 8)
    case "b": digits = (isAlternate ? "0b" : "") + String(magnitude, radix: 2)
    case "c":
      return UInt32(exactly: number).flatMap(Unicode.Scalar.init).map { padded(String($0), .left) }
    default: return text(of: Double(number))
    }
    return signed(grouped(digits), isNegative: number < 0)
  }

  /// The text of a floating-point number, or nil when the type is none for such numbers.
  func text(of number: Double) -> String? {
    let magnitude = number.magnitude
    var digits: String
    switch type {
    case nil where precision == nil:
      digits = PythonText.representation(of: magnitude)
    case nil:
      digits = general(magnitude, upper: false)
      if magnitude.isFinite, !digits.contains("."), !digits.contains("e") {
        digits += ".0"
      }
    case "f", "F": digits = String(format: "%.\(precision ?? 6)f", magnitude)
    case "e": digits = String(format: "%.\(precision ?? 6)e", magnitude)
    case "E": digits = String(format: "%.\(precision ?? 6)E", magnitude)
    case "g", "n": digits = general(magnitude, upper: false)
    case "G": digits = general(magnitude, upper: true)
    case "%": digits = String(format: "%.\(precision ?? 6)f", magnitude * 100) + "%"
    default: return nil
    }
    if !magnitude.isFinite {
      digits = magnitude.isNaN ? "nan" : "inf"
      if type == "F" || type == "E" || type == "G" {
        digits = digits.uppercased()
      }
      if type == "%" {
        digits += "%"
      }
    }
    return signed(grouped(digits), isNegative: number.sign == .minus && !number.isNaN)
  }

  private func general(_ magnitude: Double, upper: Bool) -> String {
    let digits = max(1, precision ?? 6)
    return String(format: "%\(isAlternate ? "#" : "").\(digits)\(upper ? "G" : "g")", magnitude)
  }

  /// The text of a string, cut to the precision.
  func text(of string: String) -> String {
    guard let precision else { return padded(string, .left) }
    return padded(String(string.unicodeScalars.prefix(precision)), .left)
  }

  private func grouped(_ digits: String) -> String {
    guard let grouping else { return digits }
    let whole = digits.prefix { $0.isNumber }
    var result = ""
    for (index, digit) in whole.enumerated() {
      if index > 0, (whole.count - index) % 3 == 0 {
        result += grouping
      }
      result.append(digit)
    }
    return result + digits.dropFirst(whole.count)
  }

  private func signed(_ digits: String, isNegative: Bool) -> String {
    let sign = isNegative ? "-" : positiveSign
    if alignment == .afterSign {
      let missing = width - sign.unicodeScalars.count - digits.unicodeScalars.count
      let prefixes = ["0x", "0X", "0o", "0b"]
      let prefix = isAlternate ? prefixes.first { digits.hasPrefix($0) } ?? "" : ""
      return sign + prefix + String(repeating: String(fill), count: max(0, missing))
        + digits.dropFirst(prefix.count)
    }
    return padded(sign + digits, .right)
  }

  private func padded(_ text: String, _ usual: Alignment) -> String {
    let missing = width - text.unicodeScalars.count
    guard missing > 0 else { return text }
    let before =
      switch alignment ?? usual {
      case .left: 0
      case .center: missing / 2
      case .right, .afterSign: missing
      }
    return String(repeating: String(fill), count: before) + text
      + String(repeating: String(fill), count: missing - before)
  }
}
