/// The schedules that DeepSpeed's files name.
///
/// They give rates themselves, not shares of a base rate. DeepSpeed sets the rate behind each update, so
/// that an update is made with what the schedule says for the one before it, and the first one with where
/// the schedule starts.
///
/// - Note: Source: `deepspeed/runtime/lr_schedules.py` of DeepSpeed 0.19.8.
public enum DeepSpeedSchedule: Equatable, Sendable {
  /// Rises, then stays.
  case warmup(WarmupRates)
  /// Rises, then falls linearly to zero.
  case warmupDecay(WarmupRates)
  /// Rises to the base rate, then falls along half a cosine.
  case warmupCosine(WarmupCosine)
  /// Rises and falls once, then falls on slowly.
  case oneCycle(OneCycle)
  /// Rises without end.
  case rangeTest(RangeTest)

  /// DeepSpeed's name.
  public var name: String {
    switch self {
    case .warmup: "WarmupLR"
    case .warmupDecay: "WarmupDecayLR"
    case .warmupCosine: "WarmupCosineLR"
    case .oneCycle: "OneCycle"
    case .rangeTest: "LRRangeTest"
    }
  }

  /// Every name.
  public static let names = [
    "WarmupLR", "WarmupDecayLR", "WarmupCosineLR", "OneCycle", "LRRangeTest",
  ]

  /// The run that a schedule is for, where it leaves something to the run.
  public struct Run: Equatable, Sendable {
    /// The optimiser's own rate.
    public var baseRate: Double
    /// Updates of the warm-up.
    public var warmupSteps: Int
    /// Updates of the whole run.
    public var totalSteps: Int

    /// Makes a description.
    ///
    /// - Parameters:
    ///   - baseRate: The optimiser's own rate.
    ///   - warmupSteps: Updates of the warm-up.
    ///   - totalSteps: Updates of the whole run.
    public init(baseRate: Double, warmupSteps: Int, totalSteps: Int) {
      self.baseRate = baseRate
      self.warmupSteps = warmupSteps
      self.totalSteps = totalSteps
    }
  }

  /// The rate of an update.
  ///
  /// - Parameters:
  ///   - step: Updates already made: 0 for the first.
  ///   - run: The run.
  /// - Returns: The learning rate.
  public func rate(step: Int, in run: Run) -> Double {
    // What DeepSpeed calls the last batch's number.
    let last = step - 1
    switch self {
    case .warmup(let rates): return rates.rate(last, run) { _, _ in 1 }
    case .warmupDecay(let rates): return rates.rate(last, run, after: WarmupRates.linearDecay)
    case .warmupCosine(let cosine): return cosine.rate(last, run)
    case .oneCycle(let cycle): return cycle.rate(last)
    case .rangeTest(let test): return test.rate(last)
    }
  }
}

/// How a rate rises.
public enum WarmupShape: String, CaseIterable, Sendable {
  /// With the logarithm of the update: fast at first.
  case log
  /// Linearly.
  case linear
}
