extension Jinja.Parser {
  private typealias Expression = Jinja.Expression

  mutating func parseExpression() throws(ChatTemplateError) -> Jinja.Expression {
    try enter()
    defer { leave() }
    let known = unknownCallables.count
    var value = try parseOr()
    while skipIf(name: "if") {
      let test = try parseOr()
      var otherwise: Expression?
      if skipIf(name: "else") {
        otherwise = try parseExpression()
      }
      value = try make(
        .conditional(test: test, then: value, otherwise: otherwise), [value, test, otherwise])
      // As in an `if` block, an unknown filter in here fails only when it runs.
      unknownCallables.removeLast(unknownCallables.count - known)
    }
    return value
  }

  /// An expression, or several of them separated by commas, which make a tuple.
  mutating func parseTuple(
    allowsConditional: Bool = true, end: String? = nil, isParenthesized: Bool = false
  ) throws(ChatTemplateError) -> Jinja.Expression {
    var items: [Expression] = []
    var isTuple = false
    while true {
      if !items.isEmpty {
        try expect(.comma)
      }
      if isTupleEnd(end) {
        break
      }
      items.append(allowsConditional ? try parseExpression() : try parseOr())
      guard current == .symbol(.comma) else { break }
      isTuple = true
    }
    if !isTuple, let only = items.first {
      return only
    }
    guard isTuple || isParenthesized else { throw unexpected(expected: "an expression") }
    return try make(.tuple(items), items)
  }

  private func isTupleEnd(_ end: String?) -> Bool {
    switch current {
    case .variableEnd, .blockEnd, .symbol(.rightParenthesis): true
    case .name(let name): name == end
    default: false
    }
  }

  /// What an assignment or a loop writes to: a name, `namespace.attribute`, or a tuple of them.
  mutating func parseTarget(
    end: String?, allowsAttributes: Bool
  ) throws(ChatTemplateError) -> Jinja.Target {
    var items: [Jinja.Target] = []
    var isTuple = false
    while true {
      if !items.isEmpty {
        try expect(.comma)
      }
      if isTupleEnd(end) || (isTuple && current == .symbol(.assign)) {
        break
      }
      items.append(try parseSingleTarget(end: end, allowsAttributes: allowsAttributes))
      guard current == .symbol(.comma) else { break }
      isTuple = true
    }
    if !isTuple, let only = items.first {
      return only
    }
    guard isTuple else { throw unexpected(expected: "a name to assign to") }
    return .tuple(items)
  }

  private mutating func parseSingleTarget(
    end: String?, allowsAttributes: Bool
  ) throws(ChatTemplateError) -> Jinja.Target {
    if skipIf(.leftParenthesis) {
      try enter()
      let inner = try parseTarget(end: nil, allowsAttributes: false)
      leave()
      try expect(.rightParenthesis)
      return inner
    }
    let name = try expectName()
    try checkAssignable(name)
    if allowsAttributes, skipIf(.dot) {
      return .attribute(of: id(of: name), named: try expectName())
    }
    return .name(id(of: name))
  }

  func checkAssignable(_ name: String) throws(ChatTemplateError) {
    if ["true", "false", "none", "True", "False", "None"].contains(name) {
      throw failure("cannot assign to '\(name)'")
    }
    if name == "loop", enclosingLoops > 0 {
      throw failure("cannot assign to 'loop' inside of a loop")
    }
  }

  mutating func parseOr() throws(ChatTemplateError) -> Jinja.Expression {
    var left = try parseAnd()
    while skipIf(name: "or") {
      let right = try parseAnd()
      left = try make(.or(left, right), [left, right])
    }
    return left
  }

  private mutating func parseAnd() throws(ChatTemplateError) -> Jinja.Expression {
    var left = try parseNot()
    while skipIf(name: "and") {
      let right = try parseNot()
      left = try make(.and(left, right), [left, right])
    }
    return left
  }

  private mutating func parseNot() throws(ChatTemplateError) -> Jinja.Expression {
    guard skipIf(name: "not") else { return try parseComparison() }
    try enter()
    defer { leave() }
    let value = try parseNot()
    return try make(.not(value), [value])
  }

  private mutating func parseComparison() throws(ChatTemplateError) -> Jinja.Expression {
    let first = try parseSum()
    var rest: [(Jinja.ComparisonOperator, Expression)] = []
    while true {
      if case .symbol(let symbol) = current,
        let comparison = Jinja.ComparisonOperator(rawValue: symbol.rawValue)
      {
        skip()
        rest.append((comparison, try parseSum()))
      } else if skipIf(name: "in") {
        rest.append((.contained, try parseSum()))
      } else if isName("not"), next == .name("in") {
        skip(2)
        rest.append((.notContained, try parseSum()))
      } else {
        break
      }
    }
    guard !rest.isEmpty else { return first }
    return try make(.comparison(first, rest), [first] + rest.map(\.1))
  }

  private mutating func parseSum() throws(ChatTemplateError) -> Jinja.Expression {
    var left = try parseConcatenation()
    while true {
      let operation: Jinja.BinaryOperator
      switch current {
      case .symbol(.add): operation = .add
      case .symbol(.subtract): operation = .subtract
      default: return left
      }
      skip()
      let right = try parseConcatenation()
      left = try make(.binary(operation, left, right), [left, right])
    }
  }

  private mutating func parseConcatenation() throws(ChatTemplateError) -> Jinja.Expression {
    var items = [try parseProduct()]
    while skipIf(.tilde) {
      items.append(try parseProduct())
    }
    return items.count == 1 ? items[0] : try make(.concatenation(items), items)
  }

  private mutating func parseProduct() throws(ChatTemplateError) -> Jinja.Expression {
    var left = try parsePower()
    while true {
      let operation: Jinja.BinaryOperator
      switch current {
      case .symbol(.multiply): operation = .multiply
      case .symbol(.divide): operation = .divide
      case .symbol(.floorDivide): operation = .floorDivide
      case .symbol(.modulo): operation = .modulo
      default: return left
      }
      skip()
      let right = try parsePower()
      left = try make(.binary(operation, left, right), [left, right])
    }
  }

  private mutating func parsePower() throws(ChatTemplateError) -> Jinja.Expression {
    var left = try parseUnary(withFilters: true)
    while skipIf(.power) {
      let right = try parseUnary(withFilters: true)
      left = try make(.binary(.power, left, right), [left, right])
    }
    return left
  }

  mutating func parseUnary(withFilters: Bool) throws(ChatTemplateError) -> Jinja.Expression {
    var value: Expression
    if current == .symbol(.subtract) || current == .symbol(.add) {
      let isNegative = current == .symbol(.subtract)
      skip()
      try enter()
      let operand = try parseUnary(withFilters: false)
      leave()
      value = try make(isNegative ? .negate(operand) : .plus(operand), [operand])
    } else {
      value = try parsePrimary()
    }
    value = try parsePostfix(value)
    return withFilters ? try parseFiltersAndTests(value) : value
  }
}
