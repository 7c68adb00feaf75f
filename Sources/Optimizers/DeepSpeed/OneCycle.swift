import Foundation

/// `OneCycle`: up, down, and then a decay below the lower rate.
///
/// The momentum, which DeepSpeed moves against the rate unless `cycle_momentum` is false, is not touched.
///
/// - Note: Source: Smith 2018, arXiv 1803.09820, as DeepSpeed has it.
public struct OneCycle: Equatable, Sendable {
  /// The lower rate.
  public var minimum: Double
  /// The upper rate.
  public var maximum: Double
  /// Updates of the way up, more than 0.
  public var firstSteps = 2000.0
  /// Updates of the way down; nil for as many.
  public var secondSteps: Double?
  /// Stairs of the way up; 0 for none.
  public var firstStairs = 0
  /// Stairs of the way down; nil for as many.
  public var secondStairs: Int?
  /// Updates of one decay; 0 for no decay behind the cycle.
  public var decaySteps = 0.0
  /// What a decay adds to the number that the lower rate is divided by, which begins at 1.
  public var decayRate = 0.0

  /// Makes DeepSpeed's default settings.
  ///
  /// - Parameters:
  ///   - minimum: The lower rate.
  ///   - maximum: The upper rate.
  public init(minimum: Double, maximum: Double) {
    self.minimum = minimum
    self.maximum = maximum
  }

  private var length: Double { firstSteps + (secondSteps ?? firstSteps) }

  func rate(_ last: Int) -> Double {
    guard last >= 0 else { return minimum }
    if Double(last) < length { return minimum + (maximum - minimum) * share(last + 1) }
    guard decaySteps != 0, decayRate != 0 else { return minimum }
    return minimum / (1 + decayRate * ((Double(last) - length + 1) / decaySteps))
  }

  /// The share of the way to the upper rate.
  private func share(_ count: Int) -> Double {
    let ratio = firstSteps / length
    let place = Double(count) / length
    let x = 1 + place - (1 + place).rounded(.down)
    let rises = x <= ratio
    let stairs = rises ? firstStairs : secondStairs ?? firstStairs
    guard stairs > 0 else { return rises ? x / ratio : (x - 1) / (ratio - 1) }
    let inside = Double(count).truncatingRemainder(dividingBy: length)
    let position =
      inside <= firstSteps
      ? inside * Double(stairs) / firstSteps
      : (length - inside) * Double(stairs) / (length - firstSteps)
    return position.rounded(.down) / Double(stairs)
  }
}
