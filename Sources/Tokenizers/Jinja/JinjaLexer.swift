extension Jinja {
  /// Splits a template into tokens.
  ///
  /// The whitespace rules are those of an environment with `trim_blocks` and `lstrip_blocks`: the
  /// newline after a block tag or a comment goes away, and so do blanks between the beginning of
  /// a line and such a tag; a `-` inside of a tag strips all whitespace on that side, a `+`
  /// strips nothing. One trailing newline of the source is dropped.
  struct Lexer {
    let source: [Unicode.Scalar]
    var position = 0
    var line = 1
    var tokens: [Token] = []

    init(_ text: String) {
      var scalars: [Unicode.Scalar] = []
      scalars.reserveCapacity(text.utf8.count)
      var previous: Unicode.Scalar?
      for scalar in text.unicodeScalars {
        if scalar == "\r" {
          scalars.append("\n")
        } else if scalar != "\n" || previous != "\r" {
          scalars.append(scalar)
        }
        previous = scalar
      }
      if scalars.last == "\n" {
        scalars.removeLast()
      }
      source = scalars
    }

    /// All tokens of the template, the last one being the end.
    static func tokenize(_ text: String) throws(ChatTemplateError) -> [Token] {
      var lexer = Lexer(text)
      try lexer.run()
      return lexer.tokens
    }

    private enum Opening { case block, variable, comment }

    private mutating func run() throws(ChatTemplateError) {
      while position < source.count {
        guard let (start, opening) = nextOpening(from: position) else {
          emitData(upTo: source.count, resumingAt: source.count)
          break
        }
        if opening == .block, let raw = rawTag(at: start, named: "raw") {
          // Only `-%}` strips after the opening of a raw section; its newline stays.
          emitData(upTo: dataEnd(tag: start, sign: raw.sign, lstrips: true), resumingAt: start)
          advance(to: raw.stripsAfter ? skipSpace(raw.end) : raw.end)
          try lexRaw()
          continue
        }
        var inside = start + 2
        var sign: Unicode.Scalar?
        if inside < source.count, source[inside] == "-" || source[inside] == "+" {
          sign = source[inside]
          inside += 1
        }
        let end = dataEnd(tag: start, sign: sign, lstrips: opening != .variable)
        emitData(upTo: end, resumingAt: start)
        let tagLine = line
        advance(to: inside)
        switch opening {
        case .comment:
          try skipComment(from: tagLine)
        case .block:
          tokens.append(Token(kind: .blockBegin, line: line))
          try lexTag(.block)
        case .variable:
          tokens.append(Token(kind: .variableBegin, line: line))
          try lexTag(.variable)
        }
      }
      tokens.append(Token(kind: .end, line: line))
    }

    private func nextOpening(from start: Int) -> (Int, Opening)? {
      var index = start
      while index + 1 < source.count {
        if source[index] == "{" {
          switch source[index + 1] {
          case "%": return (index, .block)
          case "{": return (index, .variable)
          case "#": return (index, .comment)
          default: break
          }
        }
        index += 1
      }
      return nil
    }

    /// Where the text before a tag ends once the rules for whitespace were applied.
    private func dataEnd(tag: Int, sign: Unicode.Scalar?, lstrips: Bool) -> Int {
      var end = tag
      if sign == "-" {
        while end > position, PythonText.isSpace(source[end - 1]) {
          end -= 1
        }
        return end
      }
      guard sign != "+", lstrips else { return tag }
      while end > position, source[end - 1] != "\n", PythonText.isSpace(source[end - 1]) {
        end -= 1
      }
      let isLineStart = end == 0 || source[end - 1] == "\n"
      return isLineStart ? end : tag
    }

    private mutating func emitData(upTo end: Int, resumingAt next: Int) {
      if end > position {
        tokens.append(Token(kind: .data(PythonText.string(source[position..<end])), line: line))
      }
      advance(to: next)
    }

    /// Moves on and counts the lines that were passed.
    mutating func advance(to next: Int) {
      var index = position
      while index < next {
        if source[index] == "\n" {
          line += 1
        }
        index += 1
      }
      position = next
    }

    func skipSpace(_ start: Int) -> Int {
      var index = start
      while index < source.count, PythonText.isSpace(source[index]) {
        index += 1
      }
      return index
    }

    func matches(_ text: String, at index: Int) -> Bool {
      var cursor = index
      for scalar in text.unicodeScalars {
        guard cursor < source.count, source[cursor] == scalar else { return false }
        cursor += 1
      }
      return true
    }

    /// Where to resume after the end of a tag: `closing` itself, or with `-` or `+` before it.
    func closingEnd(_ closing: String, at index: Int, plus: Bool, trims: Bool) -> Int? {
      if matches("-" + closing, at: index) {
        return skipSpace(index + 1 + closing.unicodeScalars.count)
      }
      if plus, matches("+" + closing, at: index) {
        return index + 1 + closing.unicodeScalars.count
      }
      guard matches(closing, at: index) else { return nil }
      let end = index + closing.unicodeScalars.count
      return trims && end < source.count && source[end] == "\n" ? end + 1 : end
    }

    private mutating func skipComment(from tagLine: Int) throws(ChatTemplateError) {
      var index = position
      while index < source.count {
        if let end = closingEnd("#}", at: index, plus: true, trims: true) {
          advance(to: end)
          return
        }
        index += 1
      }
      throw .syntax(line: tagLine, message: "the comment is never closed; add '#}'")
    }

    /// Recognises `{% raw %}` and `{% endraw %}` with their signs.
    private func rawTag(
      at start: Int, named name: String
    ) -> (sign: Unicode.Scalar?, nameEnd: Int, end: Int, stripsAfter: Bool)? {
      guard matches("{%", at: start) else { return nil }
      var index = start + 2
      var sign: Unicode.Scalar?
      if index < source.count, source[index] == "-" || source[index] == "+" {
        sign = source[index]
        index += 1
      }
      index = skipSpace(index)
      guard matches(name, at: index) else { return nil }
      let nameEnd = skipSpace(index + name.unicodeScalars.count)
      if matches("-%}", at: nameEnd) {
        return (sign, nameEnd, nameEnd + 3, true)
      }
      if matches("%}", at: nameEnd) {
        return (sign, nameEnd, nameEnd + 2, false)
      }
      if name == "endraw", matches("+%}", at: nameEnd) {
        return (sign, nameEnd, nameEnd + 3, false)
      }
      return nil
    }

    private mutating func lexRaw() throws(ChatTemplateError) {
      var index = position
      while index < source.count {
        if let tag = rawTag(at: index, named: "endraw"),
          let end = closingEnd("%}", at: tag.nameEnd, plus: true, trims: true)
        {
          emitData(upTo: dataEnd(tag: index, sign: tag.sign, lstrips: true), resumingAt: index)
          advance(to: end)
          return
        }
        index += 1
      }
      throw .syntax(line: line, message: "the raw section is never closed; add '{% endraw %}'")
    }
  }
}
