import Foundation

/// How the learning rate changes over a run.
///
/// Names and values are those of transformers: a linear rise from zero over the warm-up steps, then
/// what the case says.
public enum LearningRateSchedule: String, Sendable, CaseIterable, Codable {
  /// Stays; the same as ``constantWithWarmup``, so that a warm-up is never ignored.
  case constant
  /// Stays.
  case constantWithWarmup = "constant_with_warmup"
  /// Falls linearly to zero at the last step.
  case linear
  /// Falls along half a cosine to zero at the last step.
  case cosine
  /// Falls along half a cosine to zero several times, each time from the base rate.
  case cosineWithRestarts = "cosine_with_restarts"
  /// Falls along a power of the remaining share of the run to a small rate.
  case polynomial
  /// Falls with the inverse square root of the step.
  case inverseSqrt = "inverse_sqrt"
  /// Falls along half a cosine to a share of the base rate.
  case cosineWithMinimum = "cosine_with_min_lr"
  /// Stays, then falls along half a cosine over the last steps.
  case warmupStableDecay = "warmup_stable_decay"
}

extension LearningRateSchedule {
  /// What some schedules take besides the length of the run.
  public struct Settings: Equatable, Sendable {
    /// Times that `cosine_with_restarts` falls.
    public var cycles = 1
    /// Exponent of `polynomial`.
    public var power = 1.0
    /// Last rate of `polynomial`, absolute.
    public var finalRate = 1e-7
    /// Share of the base rate that is left at the end; nil for 0.1 with `cosine_with_min_lr` and 0
    /// with `warmup_stable_decay`.
    public var minimumFactor: Double?
    /// Updates over which `warmup_stable_decay` falls; nil for a tenth of the run, rounded up.
    public var decaySteps: Int?
    /// Steps after which `inverse_sqrt` counts; nil for the warm-up, or 10,000 without one.
    public var timeScale: Int?

    /// Makes the default settings.
    public init() {}
  }

  /// What the base learning rate is multiplied by.
  ///
  /// - Parameters:
  ///   - step: Updates already made: 0 for the first.
  ///   - warmupSteps: Updates of the warm-up.
  ///   - totalSteps: Updates of the whole run.
  ///   - baseRate: The base learning rate; only `polynomial`, whose end is absolute, looks at it.
  ///   - settings: What some schedules take besides.
  /// - Returns: A factor in 0 ... 1.
  public func factor(
    step: Int, warmupSteps: Int, totalSteps: Int, baseRate: Double = 1,
    settings: Settings = Settings()
  ) -> Double {
    if step < warmupSteps {
      let share = Double(step) / Double(max(1, warmupSteps))
      // A run that ends above zero also begins there.
      return self == .warmupStableDecay ? mixed(share, settings.minimumFactor ?? 0) : share
    }
    let (fallen, length) = (Double(step - warmupSteps), Double(max(1, totalSteps - warmupSteps)))
    let progress = fallen / length
    switch self {
    case .constant, .constantWithWarmup: return 1
    case .linear: return max(0, Double(totalSteps - step) / length)
    case .cosine: return max(0, halfCosine(progress))
    case .cosineWithRestarts:
      let cycle = (Double(settings.cycles) * progress).truncatingRemainder(dividingBy: 1)
      return progress >= 1 ? 0 : max(0, halfCosine(cycle))
    case .polynomial:
      if baseRate <= settings.finalRate { return 1 }
      if step > totalSteps { return settings.finalRate / baseRate }
      let range = baseRate - settings.finalRate
      return (range * pow(1 - progress, settings.power) + settings.finalRate) / baseRate
    case .inverseSqrt:
      let scale = Double(max(1, settings.timeScale ?? (warmupSteps > 0 ? warmupSteps : 10_000)))
      return 1 / ((Double(step) + (scale - Double(warmupSteps))) / scale).squareRoot()
    case .cosineWithMinimum:
      return max(0, mixed(halfCosine(progress), settings.minimumFactor ?? 0.1))
    case .warmupStableDecay:
      let decay = min(settings.decaySteps ?? (totalSteps + 9) / 10, totalSteps - warmupSteps)
      let minimum = settings.minimumFactor ?? 0
      let start = totalSteps - decay
      if step < start { return 1 }
      if step >= totalSteps { return minimum }
      return max(0, mixed(halfCosine(Double(step - start) / Double(max(1, decay))), minimum))
    }
  }

  /// From 1 at 0 to 0 at 1, flat at both.
  private func halfCosine(_ progress: Double) -> Double { 0.5 * (1 + cos(Double.pi * progress)) }

  /// A factor between 0 and 1 moved to between the minimum and 1.
  private func mixed(_ factor: Double, _ minimum: Double) -> Double {
    factor * (1 - minimum) + minimum
  }
}
