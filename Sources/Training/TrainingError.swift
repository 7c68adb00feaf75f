/// What can stop a training run.
public enum TrainingError: Error, Equatable, Sendable {
  /// The output directory holds another run.
  case outputExists(path: String)
  /// There is nothing to resume, or what there is does not fit.
  case resume(path: String, reason: String)
  /// The loss, or the length of the gradients, is infinite or not a number.
  case diverged(step: Int, loss: Double = 0, gradientNorm: Double = 0)
  /// A layer of 8 or 4 bits cannot be trained itself.
  case quantized(layer: String)
  /// The processes of a run are about to do different things.
  case ranks(String)
  /// An option has a value that it cannot have.
  case option(name: String, expected: String, actual: String)
}

extension TrainingError: CustomStringConvertible {
  /// What is wrong and what to do.
  public var description: String {
    switch self {
    case .outputExists(let path):
      """
      \(path) holds the files of another run; continue it with --resume, choose another directory, \
      or allow replacing it with --overwrite
      """
    case .resume(let path, let reason): "\(path): cannot resume: \(reason)"
    case .diverged(let step, let loss, let norm):
      (loss.isFinite ? "the length of the gradients is \(norm)" : "the loss is \(loss)")
        + " at step \(step); try a lower learning rate"
    case .quantized(let layer):
      """
      \(layer) is quantised: weights of 8 or 4 bits have no gradients; train an adapter on them, or \
      the model they were made of
      """
    case .ranks(let reason): "the processes do not agree: \(reason)"
    case .option(let name, let expected, let actual):
      "--\(name) is \(actual), expected \(expected)"
    }
  }
}
