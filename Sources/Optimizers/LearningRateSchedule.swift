import Foundation

/// How the learning rate changes over a run.
///
/// Every schedule rises linearly from zero over the warm-up steps, then:
/// Names and values are those of transformers.
public enum LearningRateSchedule: String, Sendable, CaseIterable, Codable {
  /// Stays.
  case constant
  /// Falls linearly to zero at the last step.
  case linear
  /// Falls along half a cosine to zero at the last step.
  case cosine
  /// Falls with the inverse square root of the step.
  case inverseSqrt = "inverse_sqrt"

  /// What the base learning rate is multiplied by.
  ///
  /// - Parameters:
  ///   - step: Updates already made: 0 for the first.
  ///   - warmupSteps: Updates of the warm-up.
  ///   - totalSteps: Updates of the whole run.
  /// - Returns: A factor in 0 ... 1.
  public func factor(step: Int, warmupSteps: Int, totalSteps: Int) -> Double {
    if step < warmupSteps { return Double(step) / Double(max(1, warmupSteps)) }
    let progress = Double(step - warmupSteps) / Double(max(1, totalSteps - warmupSteps))
    switch self {
    case .constant: return 1
    case .linear: return max(0, 1 - progress)
    case .cosine: return max(0, 0.5 * (1 + cos(Double.pi * progress)))
    case .inverseSqrt:
      // The time scale is the warm-up, or 10,000 steps without one.
      let scale = Double(warmupSteps > 0 ? warmupSteps : 10_000)
      return (scale / (Double(step) - Double(warmupSteps) + scale)).squareRoot()
    }
  }
}
