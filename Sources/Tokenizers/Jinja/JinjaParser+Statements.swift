extension Jinja.Parser {
  private typealias Statement = Jinja.Statement

  mutating func parseStatements(
    until ends: [String]
  ) throws(ChatTemplateError) -> [Jinja.Statement] {
    var body: [Statement] = []
    while true {
      let start = line
      switch current {
      case .data(let text):
        body.append(Statement(line: start, kind: .text(text)))
        skip()
      case .variableBegin:
        skip()
        let value = try parseTuple()
        try expect(.variableEnd)
        body.append(Statement(line: start, kind: .output(value)))
      case .blockBegin:
        skip()
        if case .name(let name) = current, ends.contains(name) {
          return body
        }
        body.append(contentsOf: try parseStatement(endedBy: ends))
        try expect(.blockEnd)
      default:
        guard ends.isEmpty else {
          let list = ends.map { "'{% \($0) %}'" }.joined(separator: " or ")
          throw failure("the template ends where \(list) is missing")
        }
        return body
      }
    }
  }

  private mutating func parseStatement(
    endedBy ends: [String]
  ) throws(ChatTemplateError) -> [Jinja.Statement] {
    guard case .name(let tag) = current else { throw unexpected(expected: "the name of a tag") }
    let start = line
    let kind: Statement.Kind
    switch tag {
    case "if":
      kind = try parseIf()
    case "for":
      kind = try parseFor()
    case "set":
      kind = try parseSet()
    case "macro":
      kind = try parseMacro()
    case "call":
      kind = try parseCallBlock()
    case "print":
      return try parsePrint()
    case "break", "continue":
      guard breakableLoops > 0 else { throw failure("'\(tag)' is outside of a loop") }
      skip()
      kind = tag == "break" ? .breakLoop : .continueLoop
    case "filter":
      skip()
      let filters = try parseFilters(of: nil, startsInline: true)
      kind = .filterBlock(filters, body: try parseScope(until: ["endfilter"]))
      skip()
    case "with":
      kind = try parseWith()
    case "generation":
      skip()
      hasGenerationBlocks = true
      kind = .generation(try parseFunctionBody(until: "endgeneration"))
    case "block":
      kind = try parseBlock()
    case "autoescape":
      skip()
      guard case .bool(false) = try parseExpression().kind else {
        throw failure("chat templates are plain text: 'autoescape' can only be false")
      }
      kind = .scope(try parseScope(until: ["endautoescape"]))
      skip()
    case "include", "import", "from", "extends":
      while current != .blockEnd, current != .end {
        skip()
      }
      kind = .unsupported(tag)
    default:
      let expected = ends.isEmpty ? "" : ", expected '\(ends.joined(separator: "' or '"))'"
      throw failure("unknown tag '\(tag)'\(expected)")
    }
    return [Statement(line: start, kind: kind)]
  }

  private mutating func parseIf() throws(ChatTemplateError) -> Jinja.Statement.Kind {
    let known = unknownCallables.count
    var branches: [(test: Jinja.Expression, body: [Statement])] = []
    var otherwise: [Statement] = []
    skip()
    branching: while true {
      let test = try parseTuple(allowsConditional: false)
      branches.append((test, try parseBody(until: ["elif", "else", "endif"])))
      switch current {
      case .name("elif"):
        skip()
      case .name("else"):
        skip()
        otherwise = try parseBody(until: ["endif"])
        skip()
        break branching
      default:
        skip()
        break branching
      }
    }
    // Inside of an `if` an unknown filter or test fails only when it runs.
    unknownCallables.removeLast(unknownCallables.count - known)
    return .conditional(branches, otherwise: otherwise)
  }

  private mutating func parseFor() throws(ChatTemplateError) -> Jinja.Statement.Kind {
    skip()
    enclosingLoops += 1
    let target = try parseTarget(end: "in", allowsAttributes: false)
    enclosingLoops -= 1
    try expect(name: "in")
    let iterable = try parseTuple(allowsConditional: false, end: "recursive")
    enclosingLoops += 1
    let known = unknownCallables.count
    var condition: Jinja.Expression?
    if skipIf(name: "if") {
      condition = try parseExpression()
      if unknownCallables.count > known {
        throw unknownCallables[known]
      }
    }
    let isRecursive = skipIf(name: "recursive")
    breakableLoops += 1
    let body = try parseScope(until: ["endfor", "else"])
    breakableLoops -= 1
    var otherwise: [Statement] = []
    if isName("else") {
      skip()
      otherwise = try parseScope(until: ["endfor"])
    }
    skip()
    enclosingLoops -= 1
    return .loop(
      Jinja.ForLoop(
        target: target, iterable: iterable, condition: condition, isRecursive: isRecursive,
        body: body, otherwise: otherwise))
  }

  private mutating func parseSet() throws(ChatTemplateError) -> Jinja.Statement.Kind {
    skip()
    let target = try parseTarget(end: nil, allowsAttributes: true)
    if skipIf(.assign) {
      return .assign(target, try parseTuple())
    }
    var filters: Jinja.Expression?
    if current == .symbol(.pipe) {
      filters = try parseFilters(of: nil, startsInline: false)
    }
    let body = try parseScope(until: ["endset"])
    skip()
    return .assignBlock(target, filters: filters, body: body)
  }

  private mutating func parseWith() throws(ChatTemplateError) -> Jinja.Statement.Kind {
    skip()
    var bindings: [(target: Jinja.Target, value: Jinja.Expression)] = []
    while current != .blockEnd, current != .symbol(.colon) {
      if !bindings.isEmpty {
        try expect(.comma)
      }
      let target = try parseTarget(end: nil, allowsAttributes: false)
      try expect(.assign)
      bindings.append((target, try parseExpression()))
    }
    let body = try parseScope(until: ["endwith"])
    skip()
    return .with(bindings, body: body)
  }

  private mutating func parseBlock() throws(ChatTemplateError) -> Jinja.Statement.Kind {
    skip()
    let name = try expectName()
    _ = skipIf(name: "scoped")
    let body = try parseFunctionBody(until: "endblock")
    _ = skipIf(name: name)
    return .block(body)
  }

  private mutating func parsePrint() throws(ChatTemplateError) -> [Jinja.Statement] {
    skip()
    var outputs: [Statement] = []
    while current != .blockEnd {
      if !outputs.isEmpty {
        try expect(.comma)
      }
      let start = line
      outputs.append(Statement(line: start, kind: .output(try parseExpression())))
    }
    return outputs
  }

  /// A body that runs as a function of its own: loops around it cannot be left from inside.
  private mutating func parseFunctionBody(
    until end: String
  ) throws(ChatTemplateError) -> [Jinja.Statement] {
    let loops = breakableLoops
    breakableLoops = 0
    let body = try parseScope(until: [end])
    breakableLoops = loops
    skip()
    return body
  }

  private mutating func parseMacro() throws(ChatTemplateError) -> Jinja.Statement.Kind {
    skip()
    let name = try expectName()
    try checkAssignable(name)
    let id = id(of: name)
    var macro = try parseSignature(name: name)
    macro = try parseMacroBody(macro, until: "endmacro")
    return .macro(id, macro)
  }

  private mutating func parseCallBlock() throws(ChatTemplateError) -> Jinja.Statement.Kind {
    skip()
    var macro = Jinja.MacroDefinition(
      name: nil, parameters: [], defaults: [], body: [], usesCaller: false, usesKeywords: false,
      usesPositionals: false)
    if current == .symbol(.leftParenthesis) {
      macro = try parseSignature(name: nil)
    }
    let call = try parseExpression()
    guard case .call = call.kind else { throw failure("'call' needs the call of a macro") }
    return .callBlock(call, try parseMacroBody(macro, until: "endcall"))
  }

  private mutating func parseMacroBody(
    _ macro: Jinja.MacroDefinition, until end: String
  ) throws(ChatTemplateError) -> Jinja.MacroDefinition {
    var macro = macro
    implicitNames.append([])
    macro.body = try parseFunctionBody(until: end)
    let used = implicitNames.removeLast()
    let own = Set(macro.parameters.map(\.name))
    macro.usesCaller = used.contains("caller") && !own.contains("caller")
    macro.usesKeywords = used.contains("kwargs") && !own.contains("kwargs")
    macro.usesPositionals = used.contains("varargs") && !own.contains("varargs")
    return macro
  }

  private mutating func parseSignature(
    name: String?
  ) throws(ChatTemplateError) -> Jinja.MacroDefinition {
    var macro = Jinja.MacroDefinition(
      name: name, parameters: [], defaults: [], body: [], usesCaller: false, usesKeywords: false,
      usesPositionals: false)
    try expect(.leftParenthesis)
    while current != .symbol(.rightParenthesis) {
      if !macro.parameters.isEmpty {
        try expect(.comma)
      }
      let parameter = try expectName()
      try checkAssignable(parameter)
      guard !macro.parameters.contains(where: { $0.name == parameter }) else {
        throw failure("the parameter '\(parameter)' occurs twice")
      }
      macro.parameters.append((id(of: parameter), parameter))
      if skipIf(.assign) {
        macro.defaults.append(try parseExpression())
      } else if !macro.defaults.isEmpty {
        throw failure("a parameter without default follows one with a default")
      }
    }
    skip()
    return macro
  }
}
