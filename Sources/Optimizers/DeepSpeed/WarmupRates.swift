import Foundation

/// `WarmupLR` and `WarmupDecayLR`: from one rate to another, then on as the schedule says.
///
/// The rise ends after max(2, `steps`) updates; along a logarithm it is log(k + 1) / log(steps) of the way
/// behind update k.
public struct WarmupRates: Equatable, Sendable {
  /// Where it starts.
  public var minimum = 0.0
  /// Where it rises to; nil for the optimiser's own rate.
  public var maximum: Double?
  /// Updates of the rise; nil for the run's warm-up.
  public var steps: Int? = 1000
  /// How it rises.
  public var shape = WarmupShape.log
  /// Updates until the decay of `WarmupDecayLR` ends at zero; nil for the run's.
  public var totalSteps: Int?

  /// Makes DeepSpeed's default settings.
  public init() {}

  /// The rate behind a batch, `after` giving the share of the way once it has risen.
  func rate(
    _ last: Int, _ run: DeepSpeedSchedule.Run,
    after: (_ last: Int, _ lengths: (warmup: Int, total: Int)) -> Double
  ) -> Double {
    guard last >= 0 else { return minimum }
    let count = Self.length(steps, run)
    let share =
      last < count
      ? shape.share(last, of: count) : after(last, (count, totalSteps ?? run.totalSteps))
    return minimum + ((maximum ?? run.baseRate) - minimum) * share
  }

  /// Updates of a rise; DeepSpeed's logarithm needs two.
  static func length(_ steps: Int?, _ run: DeepSpeedSchedule.Run) -> Int {
    max(2, steps ?? max(1, run.warmupSteps))
  }

  static func linearDecay(_ last: Int, _ lengths: (warmup: Int, total: Int)) -> Double {
    max(0, Double(lengths.total - last) / max(1, Double(lengths.total - lengths.warmup)))
  }
}

extension WarmupShape {
  /// The share of the way behind a batch, counted from 0.
  func share(_ last: Int, of count: Int) -> Double {
    switch self {
    case .log: 1 / Foundation.log(Double(count)) * Foundation.log(Double(last + 1))
    case .linear: Double(last) / Double(count)
    }
  }
}
