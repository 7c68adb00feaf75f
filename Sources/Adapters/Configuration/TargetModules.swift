import JSONValues

/// Which layers an adapter goes to.
public enum TargetModules: Equatable, Sendable {
  /// Layers whose path is one of the names or ends with a dot and one of them.
  case names([String])
  /// Layers whose whole path matches a regular expression.
  case pattern(String)
  /// Every linear layer but the output head.
  case allLinear

  /// Reads the spelling of the command line: "all-linear", names with commas, or an expression.
  ///
  /// Text with a character that no module name has is an expression.
  ///
  /// - Parameter text: The spelling.
  public init(_ text: String) {
    let plain = text.allSatisfy { $0.isLetter || $0.isNumber || "_.,- ".contains($0) }
    if text.lowercased() == "all-linear" {
      self = .allLinear
    } else if plain {
      self = .names(
        text.split(separator: ",").map { String($0.filter { $0 != " " }) }.filter { !$0.isEmpty })
    } else {
      self = .pattern(text)
    }
  }
}

extension TargetModules {
  /// As files spell it; names are sorted, since PEFT takes them for a set.
  var json: JSON {
    switch self {
    case .names(let names): .array(names.sorted().map(JSON.string))
    case .pattern(let pattern): .string(pattern)
    case .allLinear: "all-linear"
    }
  }
}
