/// What a `Split` or a `Replace` looks for: a literal string or a regular expression.
enum TextPattern: Sendable {
  case literal([UInt8])
  case expression(RegularExpression)

  /// Reads `{"String": ...}` or `{"Regex": ...}`.
  init(_ component: ComponentReader) throws(TokenizerError) {
    let literal = try component.optionalString("String")
    if let literal, !literal.isEmpty {
      self = .literal(Array(literal.utf8))
      return
    }
    // An empty string matches between all characters, as an empty expression does.
    let pattern: String
    if let literal { pattern = literal } else { pattern = try component.string("Regex") }
    do {
      self = .expression(try RegularExpression(pattern))
    } catch {
      throw .invalidPattern(
        file: component.file, component: component.path, pattern: pattern, reason: error.reason)
    }
  }

  /// Calls `body` with every match from left to right.
  ///
  /// An empty literal matches nowhere.
  func forEachMatch(
    in text: UnsafeBufferPointer<UInt8>, _ body: (_ start: Int, _ end: Int) -> Void
  ) {
    switch self {
    case .expression(let expression):
      expression.forEachMatch(in: text, body)
    case .literal(let literal):
      guard let first = literal.first else { return }
      literal.withUnsafeBufferPointer { literal in
        var index = 0
        while index + literal.count <= text.count {
          if text[index] == first, text.slice(index, index + literal.count).isEqual(to: literal) {
            body(index, index + literal.count)
            index += literal.count
          } else {
            index += 1
          }
        }
      }
    }
  }

  /// The text with every match replaced.
  func replacing(in text: [UInt8], by content: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    text.withUnsafeBufferPointer { replaceMatches(in: $0, by: content, into: &result) }
    return result
  }

  /// Appends the text with every match replaced.
  func replaceMatches(
    in text: UnsafeBufferPointer<UInt8>, by content: [UInt8], into result: inout [UInt8]
  ) {
    var position = 0
    forEachMatch(in: text) { start, end in
      result.append(contentsOf: text[position..<start])
      result.append(contentsOf: content)
      position = end
    }
    result.append(contentsOf: text[position...])
  }
}
