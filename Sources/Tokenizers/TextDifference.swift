/// The place where two texts part, in words.
enum TextDifference {
  /// Says what stands in each text behind the part that they share.
  ///
  /// - Parameters:
  ///   - first: A text.
  ///   - second: Another text.
  ///   - firstName: What to call the first.
  ///   - secondName: What to call the second.
  /// - Returns: Such as `after "...user\nHi" the prompt has "<think>" where the turn has "Hello"`.
  static func description(
    of first: String, and second: String, named firstName: String, _ secondName: String
  ) -> String {
    let (one, other) = (first.unicodeScalars, second.unicodeScalars)
    var (left, right) = (one.startIndex, other.startIndex)
    while left < one.endIndex, right < other.endIndex, one[left] == other[right] {
      left = one.index(after: left)
      right = other.index(after: right)
    }
    let shared = one[..<left].suffix(24)
    let dots = shared.startIndex > one.startIndex ? "..." : ""
    return "after \(quoted(shared, before: dots)) \(firstName) has \(excerpt(one[left...])) where "
      + "\(secondName) has \(excerpt(other[right...]))"
  }

  private static func excerpt(_ rest: Substring.UnicodeScalarView) -> String {
    if rest.isEmpty { return "its end" }
    let shown = rest.prefix(32)
    return quoted(shown, after: shown.endIndex < rest.endIndex ? "..." : "")
  }

  private static func quoted(
    _ scalars: Substring.UnicodeScalarView, before: String = "", after: String = ""
  ) -> String {
    before + String(Substring(scalars)).debugDescription + after
  }
}
