/// A command line or a recipe that cannot be understood; the message is for the user.
public struct UsageError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What is wrong, where, and where possible what to write instead.
  public let message: String

  /// Creates an error.
  /// - Parameter message: What is wrong, in one line without a final full stop.
  public init(_ message: String) {
    self.message = message
  }

  /// The message itself.
  public var description: String { message }
}
