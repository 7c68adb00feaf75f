package import Foundation

extension Jinja {
  /// The local time that `strftime_now` writes.
  package struct Clock {
    var date: Date
    var timeZone: TimeZone

    package init(date: Date = Date(), timeZone: TimeZone = .current) {
      self.date = date
      self.timeZone = timeZone
    }

    /// `datetime.strftime` of a time without a zone, in the C locale.
    func text(format: String) -> String {
      var result = ""
      var scalars = Array(format.unicodeScalars)[...]
      while let scalar = scalars.popFirst() {
        guard scalar == "%", var code = scalars.popFirst() else {
          result.unicodeScalars.append(scalar)
          continue
        }
        var flag: Unicode.Scalar?
        if code == "-" || code == "_" || code == "0", let next = scalars.popFirst() {
          flag = code
          code = next
        }
        result += text(of: code, flag: flag)
      }
      return result
    }

    private func text(of code: Unicode.Scalar, flag: Unicode.Scalar?) -> String {
      let parts = components
      func number(_ value: Int, _ width: Int, blank: Bool = false) -> String {
        let digits = String(value)
        let missing = String(
          repeating: flag == "_" || (blank && flag == nil) ? " " : "",
          count: max(0, width - digits.count))
        if flag == "-" {
          return digits
        }
        let zeros = String(repeating: "0", count: max(0, width - digits.count))
        return (missing.isEmpty ? zeros : missing) + digits
      }
      let hour12 = (parts.hour + 11) % 12 + 1
      switch code {
      case "Y": return number(parts.year, flag == "_" || flag == "-" ? 1 : 4)
      case "y": return number(parts.year % 100, 2)
      case "C": return number(parts.year / 100, 2)
      case "m": return number(parts.month, 2)
      case "d": return number(parts.day, 2)
      case "e": return number(parts.day, 2, blank: true)
      case "H": return number(parts.hour, 2)
      case "k": return number(parts.hour, 2, blank: true)
      case "I": return number(hour12, 2)
      case "l": return number(hour12, 2, blank: true)
      case "M": return number(parts.minute, 2)
      case "S": return number(parts.second, 2)
      case "f": return number(parts.microsecond, 6)
      case "j": return number(parts.dayOfYear, 3)
      case "u": return String(parts.weekday == 0 ? 7 : parts.weekday)
      case "w": return String(parts.weekday)
      case "U": return number((parts.dayOfYear + 6 - parts.weekday) / 7, 2)
      case "W": return number((parts.dayOfYear + 6 - (parts.weekday + 6) % 7) / 7, 2)
      case "A": return Self.weekdays[parts.weekday]
      case "a": return String(Self.weekdays[parts.weekday].prefix(3))
      case "B": return Self.months[parts.month - 1]
      case "b", "h": return String(Self.months[parts.month - 1].prefix(3))
      case "p": return parts.hour < 12 ? "AM" : "PM"
      case "P": return parts.hour < 12 ? "am" : "pm"
      case "D", "x": return text(format: "%m/%d/%y")
      case "F": return text(format: "%Y-%m-%d")
      case "T", "X": return text(format: "%H:%M:%S")
      case "R": return text(format: "%H:%M")
      case "r": return text(format: "%I:%M:%S %p")
      case "c": return text(format: "%a %b %e %H:%M:%S %Y")
      case "s": return String(Int(date.timeIntervalSince1970.rounded(.down)))
      case "n": return "\n"
      case "t": return "\t"
      case "z", "Z": return ""
      case "%": return "%"
      default: return "%" + (flag.map(String.init) ?? "") + String(code)
      }
    }

    private static let weekdays = [
      "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
    ]

    private static let months = [
      "January", "February", "March", "April", "May", "June", "July", "August", "September",
      "October", "November", "December",
    ]

    private struct Parts {
      var year = 1970
      var month = 1
      var day = 1
      var hour = 0
      var minute = 0
      var second = 0
      var microsecond = 0
      /// 0 is Sunday.
      var weekday = 4
      var dayOfYear = 1
    }

    private var components: Parts {
      var calendar = Calendar(identifier: .gregorian)
      calendar.timeZone = timeZone
      let found = calendar.dateComponents(
        [.year, .month, .day, .hour, .minute, .second, .nanosecond, .weekday], from: date)
      var parts = Parts()
      parts.year = found.year ?? parts.year
      parts.month = min(max(found.month ?? 1, 1), 12)
      parts.day = found.day ?? parts.day
      parts.hour = found.hour ?? parts.hour
      parts.minute = found.minute ?? parts.minute
      parts.second = found.second ?? parts.second
      parts.microsecond = (found.nanosecond ?? 0) / 1000
      parts.weekday = ((found.weekday ?? 5) + 6) % 7
      parts.dayOfYear = calendar.ordinality(of: .day, in: .year, for: date) ?? 1
      return parts
    }
  }
}
