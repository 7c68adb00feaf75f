/// Text operations with the meaning that Python gives them: on code points, not on graphemes.
enum PythonText {
  /// Whether `str.isspace` holds for the scalar; `str.strip` removes and `\s` matches the same.
  static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F,
      0x205F, 0x3000:
      true
    default:
      false
    }
  }

  /// Whether `str.splitlines` ends a line at the scalar.
  static func isLineBreak(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: true
    default: false
    }
  }

  /// Whether `repr` writes the scalar as it is.
  static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
    if scalar == " " {
      return true
    }
    switch scalar.properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
      .paragraphSeparator, .spaceSeparator:
      return false
    default:
      return true
    }
  }

  /// Whether the scalar has case in the sense of `str.islower` and `str.title`.
  static func isCased(_ scalar: Unicode.Scalar) -> Bool {
    scalar.properties.isLowercase || scalar.properties.isUppercase
      || scalar.properties.generalCategory == .titlecaseLetter
  }

  /// A string from scalars.
  static func string(_ scalars: some Sequence<Unicode.Scalar>) -> String {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    return String(view)
  }

  /// Equality of code points; Swift's own `==` would treat canonically equivalent texts as one.
  static func equal(_ left: String, _ right: String) -> Bool {
    left.utf8.elementsEqual(right.utf8)
  }

  /// Order by code points, which is the order of the UTF-8 bytes.
  static func less(_ left: String, _ right: String) -> Bool {
    left.utf8.lexicographicallyPrecedes(right.utf8)
  }

  /// `str.splitlines(keepends)`.
  static func splitLines(_ text: String, keepEnds: Bool = false) -> [String] {
    let scalars = Array(text.unicodeScalars)
    var lines: [String] = []
    var start = 0
    var index = 0
    while index < scalars.count {
      guard isLineBreak(scalars[index]) else {
        index += 1
        continue
      }
      let end = index
      let isPair = scalars[index] == "\r" && index + 1 < scalars.count && scalars[index + 1] == "\n"
      index += isPair ? 2 : 1
      lines.append(string(scalars[start..<(keepEnds ? index : end)]))
      start = index
    }
    if start < scalars.count {
      lines.append(string(scalars[start...]))
    }
    return lines
  }

  /// Which ends `strip` works on.
  enum Side { case left, right, both }

  /// `str.strip`, `str.lstrip` and `str.rstrip`.
  static func strip(_ text: String, _ side: Side = .both, characters: String? = nil) -> String {
    let scalars = text.unicodeScalars
    let removed = characters.map { Set($0.unicodeScalars) }
    func drops(_ scalar: Unicode.Scalar) -> Bool {
      removed?.contains(scalar) ?? isSpace(scalar)
    }
    var start = scalars.startIndex
    var end = scalars.endIndex
    if side != .right {
      while start < end, drops(scalars[start]) {
        start = scalars.index(after: start)
      }
    }
    if side != .left {
      while start < end {
        let before = scalars.index(before: end)
        guard drops(scalars[before]) else { break }
        end = before
      }
    }
    return String(scalars[start..<end])
  }

  /// Offsets in `bytes` where `needle` begins, left to right and without overlap.
  static func occurrences(of needle: [UInt8], in bytes: [UInt8], limit: Int = .max) -> [Int] {
    guard let first = needle.first, bytes.count >= needle.count else { return [] }
    var found: [Int] = []
    var index = 0
    let last = bytes.count - needle.count
    while index <= last, found.count < limit {
      if bytes[index] == first, bytes[index..<(index + needle.count)].elementsEqual(needle) {
        found.append(index)
        index += needle.count
      } else {
        index += 1
      }
    }
    return found
  }

  /// A string from valid UTF-8 bytes.
  static func string(utf8 bytes: ArraySlice<UInt8>) -> String {
    String(decoding: bytes, as: UTF8.self)
  }
}
