/// What a specification lists: an `Option` or a `Flag`.
public protocol OptionDeclaration: Sendable {
  /// The declaration without its value type.
  var details: OptionDetails { get }
}

/// A declaration of an option without its value type, for parsing, help and completion.
public struct OptionDetails: Sendable {
  package var name: String
  package var short: Character?
  package var group: String
  package var help: String
  /// The placeholder of the value; nil for a flag.
  package var valueName: String?
  package var choices: [String] = []
  package var defaultText: String?
  /// The text meant by the option without a value; nil if it needs one.
  package var impliedText: String?
  package var isRepeated = false
  package var accepts: @Sendable (String) -> Bool

  package var isFlag: Bool { valueName == nil }
}

/// An option with a value: `--name value`, `--name=value` or `-x value`.
public struct Option<Value: OptionValue>: OptionDeclaration {
  /// The long name, without dashes.
  public let name: String
  /// The value when the option is not given.
  public let defaultValue: Value?
  /// The declaration without its value type.
  public let details: OptionDetails

  /// Declares an option.
  /// - Parameters:
  ///   - name: The long name, without dashes.
  ///   - default: The value when the option is not given.
  ///   - short: A one-letter name, given as `-x value`.
  ///   - group: The heading in the help under which the option stands.
  ///   - help: One or two sentences for the help.
  ///   - isRepeated: Whether all values count; otherwise the last one given wins.
  ///   - optionalValue: The value when the option is given without one, as in `--resume [DIR]`.
  public init(
    _ name: String, default: Value?, short: Character? = nil, group: String = "Options",
    help: String, isRepeated: Bool = false, optionalValue: Value? = nil
  ) {
    self.name = name
    self.defaultValue = `default`
    self.details = OptionDetails(
      name: name, short: short, group: group, help: help, valueName: Value.valueName,
      choices: Value.optionChoices, defaultText: `default`?.optionText,
      impliedText: optionalValue?.optionText, isRepeated: isRepeated,
      accepts: { Value(optionText: $0) != nil })
  }
}

/// An option without a value: `--name` sets it, `--no-name` clears it.
public struct Flag: OptionDeclaration {
  /// The long name, without dashes.
  public let name: String
  /// The declaration in the form shared with options.
  public let details: OptionDetails

  /// Declares a flag.
  /// - Parameters:
  ///   - name: The long name, without dashes and without `no-`.
  ///   - default: The value when the flag is not given.
  ///   - group: The heading in the help under which the flag stands.
  ///   - help: One or two sentences for the help.
  public init(
    _ name: String, default: Bool = false, group: String = "Options", help: String
  ) {
    self.name = name
    self.details = OptionDetails(
      name: name, group: group, help: help, defaultText: `default` ? "true" : "false",
      accepts: { $0 == "true" || $0 == "false" })
  }
}

/// An argument that is known by its position.
public struct Positional: Sendable {
  /// How often an argument may be there.
  public enum Count: Sendable {
    /// Exactly once.
    case required
    /// Once or not at all.
    case optional
    /// Any number of times, also none; only the last positional of a command can be so.
    case variadic
  }

  /// The name in help and error messages, in capitals by custom.
  public let name: String
  /// How often the argument may be there.
  public let count: Count
  /// One or two sentences for the help.
  public let help: String

  /// Declares a positional argument.
  /// - Parameters:
  ///   - name: The name in help and error messages.
  ///   - count: How often the argument may be there.
  ///   - help: One or two sentences for the help.
  public init(_ name: String, count: Count = .required, help: String) {
    self.name = name
    self.count = count
    self.help = help
  }
}
