/// A type that the value of an option can have.
///
/// An enumeration with string raw values that is `CaseIterable` needs to write nothing: its raw
/// values are the choices. `optionText` must give back the value through `init(optionText:)`.
public protocol OptionValue: Sendable {
  /// The placeholder in help and in error messages, for example `INTEGER` or `DIR`.
  static var valueName: String { get }

  /// Every text that is accepted, or an empty array when they cannot be listed.
  static var optionChoices: [String] { get }

  /// Reads a value.
  /// - Parameter optionText: The text as given; nil is returned if it is not a value of this type.
  init?(optionText: String)

  /// The text that stands for this value on a command line.
  var optionText: String { get }
}

extension OptionValue {
  /// No list of choices.
  public static var optionChoices: [String] { [] }
}

extension Int: OptionValue {
  /// The placeholder of an integer.
  public static var valueName: String { "INTEGER" }

  /// Reads a decimal integer.
  /// - Parameter optionText: The text as given.
  public init?(optionText: String) {
    self.init(optionText)
  }

  /// The decimal digits.
  public var optionText: String { description }
}

extension Double: OptionValue {
  /// The placeholder of a number.
  public static var valueName: String { "NUMBER" }

  /// Reads a number; `inf` is one, `nan` is not.
  /// - Parameter optionText: The text as given.
  public init?(optionText: String) {
    guard let number = Double(optionText), !number.isNaN else { return nil }
    self = number
  }

  /// The shortest decimal that reads back as the same number.
  public var optionText: String { description }
}

extension String: OptionValue {
  /// The placeholder of a text.
  public static var valueName: String { "TEXT" }

  /// Takes any text.
  /// - Parameter optionText: The text as given.
  public init?(optionText: String) {
    self = optionText
  }

  /// The text itself.
  public var optionText: String { self }
}

extension OptionValue where Self: RawRepresentable & CaseIterable, RawValue == String {
  /// The choices, separated by bars.
  public static var valueName: String { optionChoices.joined(separator: "|") }

  /// The raw values, in the order of declaration.
  public static var optionChoices: [String] { allCases.map(\.rawValue) }

  /// Finds the case with a raw value.
  /// - Parameter optionText: The text as given.
  public init?(optionText: String) {
    self.init(rawValue: optionText)
  }

  /// The raw value.
  public var optionText: String { rawValue }
}
