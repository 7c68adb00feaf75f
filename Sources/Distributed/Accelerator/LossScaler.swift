/// The factor by which losses are multiplied so that small gradients do not vanish in float16.
///
/// It is halved after an update whose gradients were not finite, and doubled after so many good ones in
/// a row.
///
/// - Note: Source: torch.amp.GradScaler of LibTorch 2.13, whose defaults these are, but for the lower
///   bound, which DeepSpeed has.
public struct LossScaler: Equatable, Sendable {
  /// The factor.
  public private(set) var scale: Double
  /// Good updates since it was last changed.
  public private(set) var goodUpdates: Int
  /// What it is multiplied by when it grows.
  public let growthFactor: Double
  /// What it is multiplied by after a bad update.
  public let backoffFactor: Double
  /// Good updates in a row after which it grows.
  public let growthInterval: Int
  /// The least factor.
  public let minimum: Double

  /// Makes a scaler.
  ///
  /// - Parameters:
  ///   - scale: The first factor, positive.
  ///   - goodUpdates: Good updates since it was last changed, for one that goes on.
  ///   - growthFactor: More than 1.
  ///   - backoffFactor: Less than 1.
  ///   - growthInterval: Good updates in a row after which it grows, positive.
  ///   - minimum: The least factor.
  public init(
    scale: Double = 65536, goodUpdates: Int = 0, growthFactor: Double = 2,
    backoffFactor: Double = 0.5, growthInterval: Int = 2000, minimum: Double = 1
  ) {
    precondition(
      scale > 0 && growthFactor > 1 && 0..<1 ~= backoffFactor && growthInterval > 0 && minimum > 0,
      "LossScaler: \(scale), \(growthFactor), \(backoffFactor), \(growthInterval), \(minimum)")
    self.scale = scale
    self.goodUpdates = goodUpdates
    self.growthFactor = growthFactor
    self.backoffFactor = backoffFactor
    self.growthInterval = growthInterval
    self.minimum = minimum
  }

  /// Takes note of an update.
  ///
  /// - Parameter isFinite: Whether all gradients were finite.
  public mutating func update(isFinite: Bool) {
    guard isFinite else {
      scale = max(scale * backoffFactor, minimum)
      goodUpdates = 0
      return
    }
    goodUpdates += 1
    if goodUpdates == growthInterval {
      scale *= growthFactor
      goodUpdates = 0
    }
  }
}
