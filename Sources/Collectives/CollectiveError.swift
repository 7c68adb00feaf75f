/// What can go wrong between the processes of a run.
public enum CollectiveError: Error, Equatable, Sendable {
  /// Variables ask for several processes, but do not say everything or contradict each other.
  case environment(String)
  /// The processes did not find each other.
  case rendezvous(place: String, reason: String)
  /// Another process ended, stopped or cannot be reached.
  ///
  /// `states` says for every rank what it was last known to do.
  case peer(reason: String, states: [String])
  /// A gradient came when the backward pass had left its block and the message was on its way; numbers are
  /// places in the list of what is trained and in the model.
  case lateGradient(parameter: Int, block: Int)
  /// The processes asked for different operations, or for the same one on different tensors.
  case diverged(calls: [String])
}

extension CollectiveError: CustomStringConvertible {
  /// What is wrong, which rank it is, and what each of them waits for.
  public var description: String {
    switch self {
    case .environment(let reason): reason
    case .rendezvous(let place, let reason): "rendezvous at \(place): \(reason)"
    case .peer(let reason, let states): reason + Self.list(states)
    case .lateGradient(let parameter, let block):
      "trained tensor \(parameter) got a gradient when the backward pass had left its block \(block) "
        + "and its gradients were sent"
    case .diverged(let calls):
      "the processes do not ask for the same operation, so that none of it was done"
        + Self.list(calls)
    }
  }

  private static func list(_ lines: [String]) -> String {
    lines.enumerated().map { "\n  rank \($0.offset) \($0.element)" }.joined()
  }
}
