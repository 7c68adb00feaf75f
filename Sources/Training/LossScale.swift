import JSONValues

/// How losses are scaled so that small gradients do not vanish in float16.
///
/// - Note: Source: `DynamicLossScaler` of DeepSpeed 0.19.8, whose defaults these are.
public struct LossScaling: Equatable, Sendable {
  /// The first factor, a power of 2 so that scaling changes no digit.
  public var initial = 65536.0
  /// Whether the factor changes; otherwise updates with gradients that are not finite are left out all the
  /// same.
  public var isDynamic = true
  /// Good updates after which the factor is doubled.
  public var window = 1000
  /// Bad updates up to which the factor stays; it is halved at each one from there on.
  public var hysteresis = 2
  /// Whether a good update makes the patience whole again; otherwise only a doubling does.
  public var isConsecutive = false
  /// The least factor; a run that would fall below it ends.
  public var minimum = 1.0

  /// Makes the default settings.
  public init() {}
}

/// The factor of a run and what it follows from.
public struct LossScale: Equatable, Sendable {
  let settings: LossScaling
  /// What losses are multiplied by.
  public private(set) var factor: Double
  /// Updates seen.
  private var count = 0
  private var lastBad = -1
  private var patience: Int
  /// Updates left out, at which the schedule does not move on.
  public private(set) var skipped = 0

  /// Begins a run.
  ///
  /// - Parameter settings: How the factor changes.
  public init(_ settings: LossScaling) {
    self.settings = settings
    factor = settings.initial
    patience = settings.hysteresis
  }

  /// Takes note of an update.
  ///
  /// - Parameter isFinite: Whether all gradients were finite.
  /// - Returns: Whether the run can go on: not where the least factor was too much.
  public mutating func update(isFinite: Bool) -> Bool {
    defer { count += 1 }
    guard isFinite else {
      skipped += 1
      guard settings.isDynamic else { return true }
      lastBad = count
      guard settings.hysteresis == 1 || patience == 1 else {
        patience -= 1
        return true
      }
      guard factor > settings.minimum else { return false }
      factor = max(factor / 2, settings.minimum)
      return true
    }
    guard settings.isDynamic else { return true }
    if settings.isConsecutive { patience = settings.hysteresis }
    let stable = count - lastBad - 1
    if stable > 0, stable % settings.window == 0 {
      patience = settings.hysteresis
      factor *= 2
    }
    return true
  }
}

extension LossScale {
  /// What `state.json` keeps.
  var json: JSON {
    [
      "factor": .number(factor), "count": .integer(count), "last_bad": .integer(lastBad),
      "patience": .integer(patience), "skipped": .integer(skipped),
    ]
  }

  /// Goes on from what `state.json` kept.
  mutating func restore(_ json: JSON) {
    guard let factor = json["factor"]?.doubleValue, let count = json["count"]?.intValue,
      let lastBad = json["last_bad"]?.intValue, let patience = json["patience"]?.intValue,
      let skipped = json["skipped"]?.intValue
    else { return }
    (self.factor, self.count, self.lastBad) = (factor, count, lastBad)
    (self.patience, self.skipped) = (patience, skipped)
  }
}
