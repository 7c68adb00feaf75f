extension Jinja {
  /// A parsed template: the statements, and the names that scopes refer to by number.
  struct Program: Sendable {
    var body: [Statement]
    var names: [String]
    /// Whether a `{% generation %}` block occurs anywhere.
    var hasGenerationBlocks: Bool
  }

  /// An expression with the height of its tree, which bounds the recursion over it.
  final class Expression: Sendable {
    let kind: Kind
    let height: Int

    init(_ kind: Kind, height: Int) {
      self.kind = kind
      self.height = height
    }

    enum Kind: Sendable {
      case none
      case bool(Bool)
      case integer(Int)
      case float(Double)
      case string(String)
      case name(Int)
      case list([Expression])
      case tuple([Expression])
      case dictionary([(key: Expression, value: Expression)])
      case attribute(Expression, String)
      case item(Expression, Expression)
      case slice(Expression, start: Expression?, stop: Expression?, step: Expression?)
      case call(Expression, CallArguments)
      case filter(Expression?, Filter?, name: String, CallArguments)
      case test(Expression, Test?, name: String, CallArguments)
      case not(Expression)
      case and(Expression, Expression)
      case or(Expression, Expression)
      case negate(Expression)
      case plus(Expression)
      case binary(BinaryOperator, Expression, Expression)
      case concatenation([Expression])
      case comparison(Expression, [(ComparisonOperator, Expression)])
      case conditional(test: Expression, then: Expression, otherwise: Expression?)
    }
  }

  /// What stands between the parentheses of a call.
  struct CallArguments: Sendable {
    var positional: [Expression] = []
    var keywords: [(name: String, value: Expression)] = []
    var variadic: Expression?
    var variadicKeywords: Expression?

    var isEmpty: Bool {
      positional.isEmpty && keywords.isEmpty && variadic == nil && variadicKeywords == nil
    }

    /// All expressions among the arguments.
    var expressions: [Expression] {
      positional + keywords.map(\.value) + [variadic, variadicKeywords].compactMap { $0 }
    }
  }

  enum BinaryOperator: String, Sendable {
    case add = "+"
    case subtract = "-"
    case multiply = "*"
    case divide = "/"
    case floorDivide = "//"
    case modulo = "%"
    case power = "**"
  }

  enum ComparisonOperator: String, Sendable {
    case equal = "=="
    case notEqual = "!="
    case less = "<"
    case lessOrEqual = "<="
    case greater = ">"
    case greaterOrEqual = ">="
    case contained = "in"
    case notContained = "not in"
  }

  /// What an assignment writes to.
  indirect enum Target: Sendable {
    case name(Int)
    case attribute(of: Int, named: String)
    case tuple([Target])
  }

  /// The parameters and the body of a macro or a call block.
  struct MacroDefinition: Sendable {
    var name: String?
    var parameters: [(id: Int, name: String)]
    /// Defaults of the last parameters.
    var defaults: [Expression]
    var body: [Statement]
    /// Which of the names that every macro may use occur in the body.
    var usesCaller: Bool
    var usesKeywords: Bool
    var usesPositionals: Bool
  }

  final class ForLoop: Sendable {
    let target: Target
    let iterable: Expression
    let condition: Expression?
    let isRecursive: Bool
    let body: [Statement]
    let otherwise: [Statement]

    init(
      target: Target, iterable: Expression, condition: Expression?, isRecursive: Bool,
      body: [Statement], otherwise: [Statement]
    ) {
      self.target = target
      self.iterable = iterable
      self.condition = condition
      self.isRecursive = isRecursive
      self.body = body
      self.otherwise = otherwise
    }
  }

  struct Statement: Sendable {
    var line: Int
    var kind: Kind

    indirect enum Kind: Sendable {
      case text(String)
      case output(Expression)
      case conditional([(test: Expression, body: [Statement])], otherwise: [Statement])
      case loop(ForLoop)
      case assign(Target, Expression)
      case assignBlock(Target, filters: Expression?, body: [Statement])
      case macro(Int, MacroDefinition)
      case callBlock(Expression, MacroDefinition)
      case filterBlock(Expression, body: [Statement])
      case with([(target: Target, value: Expression)], body: [Statement])
      case block([Statement])
      case scope([Statement])
      case generation([Statement])
      case breakLoop
      case continueLoop
      case unsupported(String)
      /// Names that have no value in this scope until it assigns them.
      case hide([Int])
    }
  }
}
