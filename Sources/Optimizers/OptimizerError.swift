/// What can be wrong with a saved optimiser.
public enum OptimizerError: Error, Equatable, Sendable {
  /// The state is not of these parameters.
  case state(name: String, reason: String)
}

extension OptimizerError: CustomStringConvertible {
  /// What is wrong and what to do.
  public var description: String {
    switch self {
    case .state(let name, let reason):
      """
      optimiser state \(name): \(reason); load the state of a run with the same adapter and the \
      same optimiser
      """
    }
  }
}
