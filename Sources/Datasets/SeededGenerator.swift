/// A small random generator whose sequence is a property of this package, not of the platform.
///
/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): a
/// 64-bit counter with the increment 0x9E3779B97F4A7C15 and a mixing function. It orders data; it
/// is not for cryptography.
public struct SeededGenerator: RandomNumberGenerator, Equatable, Sendable {
  private var state: UInt64

  /// A generator that repeats its sequence for the same seed.
  ///
  /// - Parameter seed: Any number.
  public init(seed: UInt64) {
    state = seed
  }

  /// A generator for one part of a larger random process.
  ///
  /// Streams of the same seed are independent for practical purposes: the stream's number goes
  /// through the mixing function before it meets the seed.
  ///
  /// - Parameters:
  ///   - seed: The seed of the whole.
  ///   - stream: The part, for example the epoch.
  public init(seed: UInt64, stream: UInt64) {
    var mixer = SeededGenerator(seed: stream)
    state = seed ^ mixer.next()
  }

  /// The next 64 random bits.
  ///
  /// - Returns: A number, uniform over all of them.
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var bits = state
    bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
    bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
    return bits ^ (bits >> 31)
  }

  /// A number below a bound.
  ///
  /// The high half of the 128-bit product of the bound and 64 random bits; the bias is below
  /// bound / 2^64.
  ///
  /// - Parameter bound: The first number that is not returned.
  /// - Returns: A number in `0..<bound`.
  /// - Precondition: `bound > 0`.
  public mutating func next(below bound: Int) -> Int {
    precondition(bound > 0, "next(below:) needs a positive bound, found \(bound)")
    return Int(UInt64(bound).multipliedFullWidth(by: next()).high)
  }

  /// Shuffles in place (Fisher and Yates, from the last element down).
  ///
  /// The standard library's `shuffle(using:)` may change its algorithm; this one does not, so that
  /// a run can be resumed with a later compiler.
  ///
  /// - Parameter elements: The elements to shuffle.
  public mutating func shuffle<Element>(_ elements: inout [Element]) {
    var last = elements.count - 1
    while last > 0 {
      let other = next(below: last + 1)
      if other != last { elements.swapAt(last, other) }
      last -= 1
    }
  }
}
