extension Jinja.Parser {
  private typealias Expression = Jinja.Expression

  mutating func parsePrimary() throws(ChatTemplateError) -> Jinja.Expression {
    switch current {
    case .name(let name):
      skip()
      switch name {
      case "true", "True": return try make(.bool(true))
      case "false", "False": return try make(.bool(false))
      case "none", "None": return try make(.none)
      default: break
      }
      if name == "caller" || name == "kwargs" || name == "varargs" {
        for index in implicitNames.indices {
          implicitNames[index].insert(name)
        }
      }
      return try make(.name(id(of: name)))
    case .string(var text):
      skip()
      while case .string(let more) = current {
        text += more
        skip()
      }
      return try make(.string(text))
    case .integer(let value):
      skip()
      return try make(.integer(value))
    case .float(let value):
      skip()
      return try make(.float(value))
    case .symbol(.leftParenthesis):
      skip()
      try enter()
      let value = try parseTuple(isParenthesized: true)
      leave()
      try expect(.rightParenthesis)
      return value
    case .symbol(.leftBracket):
      return try parseList()
    case .symbol(.leftBrace):
      return try parseDictionary()
    default:
      throw unexpected(expected: "an expression")
    }
  }

  private mutating func parseList() throws(ChatTemplateError) -> Jinja.Expression {
    skip()
    var items: [Expression] = []
    while current != .symbol(.rightBracket) {
      if !items.isEmpty {
        try expect(.comma)
        if current == .symbol(.rightBracket) {
          break
        }
      }
      items.append(try parseExpression())
    }
    skip()
    return try make(.list(items), items)
  }

  private mutating func parseDictionary() throws(ChatTemplateError) -> Jinja.Expression {
    skip()
    var pairs: [(key: Expression, value: Expression)] = []
    while current != .symbol(.rightBrace) {
      if !pairs.isEmpty {
        try expect(.comma)
        if current == .symbol(.rightBrace) {
          break
        }
      }
      let key = try parseExpression()
      try expect(.colon)
      pairs.append((key, try parseExpression()))
    }
    skip()
    return try make(.dictionary(pairs), pairs.flatMap { [$0.key, $0.value] })
  }

  mutating func parsePostfix(
    _ start: Jinja.Expression
  ) throws(ChatTemplateError) -> Jinja.Expression {
    var value = start
    while true {
      switch current {
      case .symbol(.dot):
        skip()
        switch current {
        case .name(let name):
          skip()
          value = try make(.attribute(value, name), [value])
        case .integer(let index):
          skip()
          value = try make(.item(value, try make(.integer(index))), [value])
        default:
          throw unexpected(expected: "a name or a number after '.'")
        }
      case .symbol(.leftBracket):
        value = try parseSubscript(of: value)
      case .symbol(.leftParenthesis):
        value = try parseCall(of: value)
      default:
        return value
      }
    }
  }

  private mutating func parseCall(
    of callee: Jinja.Expression
  ) throws(ChatTemplateError) -> Jinja.Expression {
    let arguments = try parseArguments()
    return try make(.call(callee, arguments), [callee] + arguments.expressions)
  }

  private mutating func parseSubscript(
    of value: Jinja.Expression
  ) throws(ChatTemplateError) -> Jinja.Expression {
    skip()
    if skipIf(.rightBracket) {
      // As in Jinja, no index at all is the empty tuple.
      return try make(.item(value, try make(.tuple([]))), [value])
    }
    var start: Expression?
    if current != .symbol(.colon) {
      let index = try parseExpression()
      if skipIf(.rightBracket) {
        return try make(.item(value, index), [value, index])
      }
      if current == .symbol(.comma) {
        return try parseTupleSubscript(of: value, first: index)
      }
      start = index
    }
    try expect(.colon)
    var stop: Expression?
    var step: Expression?
    if current != .symbol(.colon), current != .symbol(.rightBracket) {
      stop = try parseExpression()
    }
    if skipIf(.colon), current != .symbol(.rightBracket) {
      step = try parseExpression()
    }
    try expect(.rightBracket)
    return try make(
      .slice(value, start: start, stop: stop, step: step), [value, start, stop, step])
  }

  private mutating func parseTupleSubscript(
    of value: Jinja.Expression, first: Jinja.Expression
  ) throws(ChatTemplateError) -> Jinja.Expression {
    var items = [first]
    while skipIf(.comma) {
      items.append(try parseExpression())
    }
    try expect(.rightBracket)
    let index = try make(.tuple(items), items)
    return try make(.item(value, index), [value, index])
  }

  mutating func parseArguments() throws(ChatTemplateError) -> Jinja.CallArguments {
    var arguments = Jinja.CallArguments()
    try expect(.leftParenthesis)
    var isFirst = true
    while current != .symbol(.rightParenthesis) {
      if !isFirst {
        try expect(.comma)
        if current == .symbol(.rightParenthesis) {
          break
        }
      }
      isFirst = false
      if skipIf(.multiply) {
        guard arguments.variadic == nil, arguments.variadicKeywords == nil else {
          throw failure("'*' is misplaced in a call")
        }
        arguments.variadic = try parseExpression()
      } else if skipIf(.power) {
        guard arguments.variadicKeywords == nil else {
          throw failure("'**' is misplaced in a call")
        }
        arguments.variadicKeywords = try parseExpression()
      } else if case .name(let name) = current, next == .symbol(.assign) {
        guard arguments.variadicKeywords == nil else {
          throw failure("the argument '\(name)' follows '**'")
        }
        guard !arguments.keywords.contains(where: { $0.name == name }) else {
          throw failure("the argument '\(name)' occurs twice")
        }
        skip(2)
        arguments.keywords.append((name, try parseExpression()))
      } else {
        guard arguments.keywords.isEmpty, arguments.variadic == nil,
          arguments.variadicKeywords == nil
        else {
          throw failure("a positional argument follows a named one")
        }
        arguments.positional.append(try parseExpression())
      }
    }
    skip()
    return arguments
  }

  mutating func parseFiltersAndTests(
    _ start: Jinja.Expression
  ) throws(ChatTemplateError) -> Jinja.Expression {
    var value = start
    while true {
      if current == .symbol(.pipe) {
        value = try parseFilters(of: value, startsInline: false)
      } else if isName("is") {
        value = try parseTest(of: value)
      } else if current == .symbol(.leftParenthesis) {
        value = try parseCall(of: value)
      } else {
        return value
      }
    }
  }

  mutating func parseFilters(
    of start: Jinja.Expression?, startsInline: Bool
  ) throws(ChatTemplateError) -> Jinja.Expression {
    var value = start
    var isFirst = startsInline
    repeat {
      if !isFirst {
        try expect(.pipe)
      }
      isFirst = false
      let name = try parseDottedName()
      let hasArguments = current == .symbol(.leftParenthesis)
      let arguments = hasArguments ? try parseArguments() : Jinja.CallArguments()
      let filter = Jinja.Filter(rawValue: name)
      if filter == nil {
        unknownCallables.append(failure("no filter is named '\(name)'"))
      }
      value = try make(
        .filter(value, filter, name: name, arguments), [value] + arguments.expressions)
    } while current == .symbol(.pipe)
    guard let value else { throw failure("a filter is missing") }
    return value
  }

  private mutating func parseTest(
    of value: Jinja.Expression
  ) throws(ChatTemplateError) -> Jinja.Expression {
    skip()
    let isNegated = skipIf(name: "not")
    let name = try parseDottedName()
    var arguments = Jinja.CallArguments()
    switch current {
    case .symbol(.leftParenthesis):
      arguments = try parseArguments()
    case .name("else"), .name("or"), .name("and"):
      break
    case .name("is"):
      throw failure("tests cannot be chained with 'is'")
    case .name, .string, .integer, .float, .symbol(.leftBracket), .symbol(.leftBrace):
      try enter()
      arguments.positional = [try parsePostfix(try parsePrimary())]
      leave()
    default:
      break
    }
    let known = Jinja.Test(rawValue: name)
    if known == nil {
      unknownCallables.append(failure("no test is named '\(name)'"))
    }
    let test = try make(.test(value, known, name: name, arguments), [value] + arguments.expressions)
    return isNegated ? try make(.not(test), [test]) : test
  }

  private mutating func parseDottedName() throws(ChatTemplateError) -> String {
    var name = try expectName()
    while skipIf(.dot) {
      name += "." + (try expectName())
    }
    return name
  }
}
