import Foundation

/// `WarmupCosineLR`: shares of the optimiser's own rate.
public struct WarmupCosine: Equatable, Sendable {
  /// The share behind the first update.
  public var minimumRatio = 0.0
  /// Updates of the rise; nil for the run's warm-up.
  public var steps: Int? = 1000
  /// The share at the end.
  public var finalRatio = 0.0001
  /// How it rises.
  public var shape = WarmupShape.log
  /// Updates until the end of the cosine; nil for the run's.
  public var totalSteps: Int?

  /// Makes DeepSpeed's default settings.
  public init() {}

  func rate(_ last: Int, _ run: DeepSpeedSchedule.Run) -> Double {
    run.baseRate * ratio(last, run)
  }

  private func ratio(_ last: Int, _ run: DeepSpeedSchedule.Run) -> Double {
    // DeepSpeed's first update has no rate at all, whatever the ratio.
    guard last >= 0 else { return 0 }
    let count = WarmupRates.length(steps, run)
    if last < count {
      return minimumRatio + shape.share(last, of: count) * (1 - minimumRatio)
    }
    let length = max(1, (totalSteps ?? run.totalSteps) - count)
    let progress = min(1, Double(last - count + 1) / Double(length))
    return max(0, finalRatio + (1 - finalRatio) * ((1 + cos(Double.pi * progress)) / 2))
  }
}
