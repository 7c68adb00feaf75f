/// `LRRangeTest`: rises linearly or in stairs, to find the highest rate that trains.
///
/// - Note: Source: Smith 2018, arXiv 1803.09820, as DeepSpeed has it.
public struct RangeTest: Equatable, Sendable {
  /// Where it starts.
  public var minimum = 1e-3
  /// Updates of one rise, more than 0.
  public var steps = 2000
  /// What a rise adds, in lengths of the start.
  public var stepRate = 1.0
  /// Whether it rises in stairs.
  public var isStaircase = false

  /// Makes DeepSpeed's default settings.
  public init() {}

  func rate(_ last: Int) -> Double {
    guard last >= 0 else { return minimum }
    let interval = Double(last + 1) / Double(steps)
    return minimum * (1 + stepRate * (isStaircase ? interval.rounded(.down) : interval))
  }
}
