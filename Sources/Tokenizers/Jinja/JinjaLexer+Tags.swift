extension Jinja.Lexer {
  /// The two kinds of tags that hold code.
  enum Tag { case block, variable }

  /// Reads the tokens of a tag up to and including its end.
  mutating func lexTag(_ tag: Tag) throws(ChatTemplateError) {
    var open: [Unicode.Scalar] = []
    while position < source.count {
      if open.isEmpty {
        let end =
          switch tag {
          case .block: closingEnd("%}", at: position, plus: true, trims: true)
          case .variable: closingEnd("}}", at: position, plus: false, trims: false)
          }
        if let end {
          append(tag == .block ? .blockEnd : .variableEnd, upTo: end)
          return
        }
      }
      let scalar = source[position]
      if PythonText.isSpace(scalar) {
        advance(to: skipSpace(position))
      } else if isDigit(scalar) {
        try lexNumber()
      } else if isNameStart(scalar) {
        lexName()
      } else if scalar == "'" || scalar == "\"" {
        try lexString(quote: scalar)
      } else {
        try lexSymbol(&open)
      }
    }
    // The parser names what is missing.
  }

  private mutating func append(_ kind: Jinja.Token.Kind, upTo end: Int) {
    tokens.append(Jinja.Token(kind: kind, line: line))
    advance(to: end)
  }

  private func isDigit(_ scalar: Unicode.Scalar) -> Bool {
    ("0"..."9").contains(scalar)
  }

  private func isNameStart(_ scalar: Unicode.Scalar) -> Bool {
    scalar == "_" || scalar.properties.isXIDStart
  }

  private mutating func lexName() {
    var end = position + 1
    while end < source.count, source[end].properties.isXIDContinue {
      end += 1
    }
    append(.name(PythonText.string(source[position..<end])), upTo: end)
  }

  private mutating func lexSymbol(_ open: inout [Unicode.Scalar]) throws(ChatTemplateError) {
    let scalar = source[position]
    for symbol in Jinja.Symbol.allCases where matches(symbol.rawValue, at: position) {
      switch symbol {
      case .leftBrace: open.append("}")
      case .leftBracket: open.append("]")
      case .leftParenthesis: open.append(")")
      case .rightBrace, .rightBracket, .rightParenthesis:
        guard let expected = open.popLast() else {
          throw .syntax(line: line, message: "unexpected '\(scalar)'")
        }
        guard expected == scalar else {
          throw .syntax(line: line, message: "unexpected '\(scalar)', expected '\(expected)'")
        }
      default: break
      }
      append(.symbol(symbol), upTo: position + symbol.rawValue.unicodeScalars.count)
      return
    }
    throw .syntax(line: line, message: "unexpected character '\(scalar)'")
  }

  /// The end of digits that single underscores may separate.
  private func digitsEnd(_ start: Int, _ accepts: (Unicode.Scalar) -> Bool) -> Int {
    var index = start
    while index < source.count {
      if accepts(source[index]) {
        index += 1
      } else if index > start, source[index] == "_", index + 1 < source.count,
        accepts(source[index + 1])
      {
        index += 2
      } else {
        break
      }
    }
    return index
  }

  private mutating func lexNumber() throws(ChatTemplateError) {
    if let end = floatEnd() {
      let text = digits(position..<end)
      guard let value = Double(text) else {
        throw .syntax(line: line, message: "'\(text)' is not a number")
      }
      append(.float(value), upTo: end)
      return
    }
    var end = position
    var radix = 10
    var start = position
    if source[position] == "0" {
      if position + 1 < source.count {
        switch source[position + 1] {
        case "x", "X": radix = 16
        case "o", "O": radix = 8
        case "b", "B": radix = 2
        default: break
        }
      }
      if radix == 10 {
        end = digitsEnd(position) { $0 == "0" }
      } else {
        start = position + 2
        if start < source.count, source[start] == "_" {
          start += 1
        }
        let base = radix
        end = digitsEnd(start) { Int(String($0), radix: base) != nil }
        if end == start {
          // Only the zero is a number; what follows is a name.
          start = position
          end = position + 1
          radix = 10
        }
      }
    } else {
      end = digitsEnd(position, isDigit)
    }
    let text = digits(start..<end)
    guard let value = Int(text, radix: radix) else {
      throw .syntax(line: line, message: "the integer \(text) does not fit 64 bits")
    }
    append(.integer(value), upTo: end)
  }

  private func digits(_ range: Range<Int>) -> String {
    PythonText.string(source[range].filter { $0 != "_" })
  }

  /// Where a floating-point number ends, or nil when the number is an integer.
  private func floatEnd() -> Int? {
    if position > 0, source[position - 1] == "." {
      return nil
    }
    let whole = digitsEnd(position, isDigit)
    var end = whole
    if end + 1 < source.count, source[end] == ".", isDigit(source[end + 1]) {
      end = digitsEnd(end + 1, isDigit)
    }
    if end < source.count, source[end] == "e" || source[end] == "E" {
      var exponent = end + 1
      if exponent < source.count, source[exponent] == "+" || source[exponent] == "-" {
        exponent += 1
      }
      let exponentEnd = digitsEnd(exponent, isDigit)
      if exponentEnd > exponent {
        return exponentEnd
      }
    }
    return end > whole ? end : nil
  }

  private mutating func lexString(quote: Unicode.Scalar) throws(ChatTemplateError) {
    var text = String.UnicodeScalarView()
    var index = position + 1
    while index < source.count {
      let scalar = source[index]
      if scalar == quote {
        append(.string(String(text)), upTo: index + 1)
        return
      }
      if scalar == "\\" {
        index = try lexEscape(at: index + 1, into: &text)
      } else {
        text.append(scalar)
        index += 1
      }
    }
    throw .syntax(line: line, message: "a string is never closed; add \(quote)")
  }

  private func lexEscape(
    at index: Int, into text: inout String.UnicodeScalarView
  ) throws(ChatTemplateError) -> Int {
    guard index < source.count else { return index }
    let scalar = source[index]
    switch scalar {
    case "\n": return index + 1
    case "\\", "'", "\"": text.append(scalar)
    case "a": text.append("\u{07}")
    case "b": text.append("\u{08}")
    case "f": text.append("\u{0C}")
    case "n": text.append("\n")
    case "r": text.append("\r")
    case "t": text.append("\t")
    case "v": text.append("\u{0B}")
    case "x": return try codePoint(at: index + 1, digits: 2, into: &text)
    case "u": return try codePoint(at: index + 1, digits: 4, into: &text)
    case "U": return try codePoint(at: index + 1, digits: 8, into: &text)
    case "N":
      throw .syntax(line: line, message: "the escape \\N is not supported; write \\uXXXX")
    case "0"..."7":
      var end = index
      while end < source.count, end < index + 3, ("0"..."7").contains(source[end]) {
        end += 1
      }
      let value = UInt32(PythonText.string(source[index..<end]), radix: 8) ?? 0
      text.append(Unicode.Scalar(value) ?? "\u{FFFD}")
      return end
    default:
      text.append("\\")
      text.append(scalar)
    }
    return index + 1
  }

  private func codePoint(
    at index: Int, digits count: Int, into text: inout String.UnicodeScalarView
  ) throws(ChatTemplateError) -> Int {
    let end = index + count
    guard end <= source.count,
      source[index..<end].allSatisfy({ $0.properties.isASCIIHexDigit }),
      let value = UInt32(PythonText.string(source[index..<end]), radix: 16),
      let scalar = Unicode.Scalar(value)
    else {
      throw .syntax(line: line, message: "a string has an escape that is no character")
    }
    text.append(scalar)
    return end
  }
}
