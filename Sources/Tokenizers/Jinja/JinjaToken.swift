/// The engine behind chat templates: a lexer, a parser and an interpreter for the part of Jinja
/// that Hugging Face chat templates use.
///
/// The types live in this caseless enum because their natural names (token, value, scope) also fit
/// other parts of the module.
package enum Jinja {}

extension Jinja {
  /// A lexical unit of a template.
  struct Token: Equatable {
    /// What the unit is.
    enum Kind: Equatable {
      case data(String)
      case variableBegin
      case variableEnd
      case blockBegin
      case blockEnd
      case name(String)
      case string(String)
      case integer(Int)
      case float(Double)
      case symbol(Symbol)
      case end
    }

    var kind: Kind
    var line: Int
  }

  /// Operators and punctuation inside of a tag.
  enum Symbol: String, CaseIterable {
    case floorDivide = "//"
    case power = "**"
    case equal = "=="
    case notEqual = "!="
    case greaterOrEqual = ">="
    case lessOrEqual = "<="
    case add = "+"
    case subtract = "-"
    case divide = "/"
    case multiply = "*"
    case modulo = "%"
    case tilde = "~"
    case leftBracket = "["
    case rightBracket = "]"
    case leftParenthesis = "("
    case rightParenthesis = ")"
    case leftBrace = "{"
    case rightBrace = "}"
    case greater = ">"
    case less = "<"
    case assign = "="
    case dot = "."
    case colon = ":"
    case pipe = "|"
    case comma = ","
    case semicolon = ";"
  }
}

extension Jinja.Token.Kind {
  /// How a message names the token.
  var description: String {
    switch self {
    case .data: "template text"
    case .variableBegin: "'{{'"
    case .variableEnd: "'}}'"
    case .blockBegin: "'{%'"
    case .blockEnd: "'%}'"
    case .name(let name): "'\(name)'"
    case .string(let text): "the string '\(text)'"
    case .integer(let value): "the number \(value)"
    case .float(let value): "the number \(value)"
    case .symbol(let symbol): "'\(symbol.rawValue)'"
    case .end: "the end of the template"
    }
  }
}
