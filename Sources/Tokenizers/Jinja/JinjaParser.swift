extension Jinja {
  /// Builds the syntax tree of a template.
  struct Parser {
    /// The tallest tree of an expression, and how deep tags and brackets may nest.
    static let maximumHeight = 160

    let tokens: [Token]
    var position = 0
    var names: [String] = []
    var nameIDs: [String: Int] = [:]
    var nesting = 0
    var hasGenerationBlocks = false

    /// Loops around the current statement inside of the current function, and in total.
    var breakableLoops = 0
    var enclosingLoops = 0
    /// For every enclosing macro: which of the implicit names its body mentions.
    var implicitNames: [Set<String>] = []
    /// Unknown filters and tests, which matter only where their code runs unconditionally.
    var unknownCallables: [ChatTemplateError] = []

    init(_ source: String) throws(ChatTemplateError) {
      tokens = try Lexer.tokenize(source)
    }

    /// Parses a whole template.
    static func parse(_ source: String) throws(ChatTemplateError) -> Program {
      var parser = try Parser(source)
      let body = try parser.parseStatements(until: [])
      if let error = parser.unknownCallables.first {
        throw error
      }
      return Program(
        body: NameResolution.resolve(body), names: parser.names,
        hasGenerationBlocks: parser.hasGenerationBlocks)
    }

    // MARK: Tokens

    var current: Token.Kind { tokens[position].kind }

    var line: Int { tokens[position].line }

    var next: Token.Kind { tokens[min(position + 1, tokens.count - 1)].kind }

    mutating func skip(_ count: Int = 1) {
      position = min(position + count, tokens.count - 1)
    }

    func isName(_ name: String) -> Bool {
      current == .name(name)
    }

    mutating func skipIf(name: String) -> Bool {
      guard isName(name) else { return false }
      skip()
      return true
    }

    mutating func skipIf(_ symbol: Symbol) -> Bool {
      guard current == .symbol(symbol) else { return false }
      skip()
      return true
    }

    mutating func expect(_ symbol: Symbol) throws(ChatTemplateError) {
      guard skipIf(symbol) else { throw unexpected(expected: "'\(symbol.rawValue)'") }
    }

    mutating func expect(name: String) throws(ChatTemplateError) {
      guard skipIf(name: name) else { throw unexpected(expected: "'\(name)'") }
    }

    mutating func expectName() throws(ChatTemplateError) -> String {
      guard case .name(let name) = current else { throw unexpected(expected: "a name") }
      skip()
      return name
    }

    mutating func expect(_ kind: Token.Kind) throws(ChatTemplateError) {
      guard current == kind else { throw unexpected(expected: kind.description) }
      skip()
    }

    func unexpected(expected: String) -> ChatTemplateError {
      failure("expected \(expected), found \(current.description)")
    }

    func failure(_ message: String) -> ChatTemplateError {
      .syntax(line: line, message: message)
    }

    // MARK: Names and trees

    /// The number of a name; equal names have equal numbers.
    mutating func id(of name: String) -> Int {
      if let id = nameIDs[name] {
        return id
      }
      names.append(name)
      nameIDs[name] = names.count - 1
      return names.count - 1
    }

    /// Makes a node and checks the height of its tree.
    func make(
      _ kind: Expression.Kind, _ children: [Expression?] = []
    ) throws(ChatTemplateError) -> Expression {
      var height = 0
      for case let child? in children {
        height = max(height, child.height)
      }
      guard height < Self.maximumHeight else {
        throw failure("the expression is nested deeper than \(Self.maximumHeight) levels")
      }
      return Expression(kind, height: height + 1)
    }

    mutating func enter() throws(ChatTemplateError) {
      nesting += 1
      guard nesting <= Self.maximumHeight else {
        throw failure("the template is nested deeper than \(Self.maximumHeight) levels")
      }
    }

    mutating func leave() {
      nesting -= 1
    }

    /// Unknown filters and tests in a new scope are errors even below an `if`.
    mutating func parseScope(
      until ends: [String]
    ) throws(ChatTemplateError) -> [Statement] {
      let known = unknownCallables.count
      let body = try parseBody(until: ends)
      if unknownCallables.count > known {
        throw unknownCallables[known]
      }
      return body
    }

    /// The body of a tag after its header, up to one of the tags that end it.
    ///
    /// The name of the ending tag is the current token afterwards.
    mutating func parseBody(until ends: [String]) throws(ChatTemplateError) -> [Statement] {
      _ = skipIf(.colon)
      try expect(.blockEnd)
      try enter()
      let body = try parseStatements(until: ends)
      leave()
      return body
    }
  }
}
