import Foundation
import JSONValues
public import Tensors

/// How positions become angles of rotary embeddings.
public struct RopeConfiguration: Hashable, Sendable {
  /// How the frequencies are stretched for lengths beyond those of pre-training.
  public enum Scaling: Hashable, Sendable {
    /// Not at all.
    case none
    /// Every frequency divided by `factor`.
    case linear(factor: Double)
    /// A larger theta as soon as a batch is longer than `length`.
    case dynamic(factor: Double, length: Int)
    /// Llama 3.1's: low frequencies divided, high ones kept, those between interpolated.
    case llama3(factor: Double, low: Double, high: Double, originalLength: Int)
    /// YaRN: a ramp over the dimensions between kept and divided frequencies.
    case yarn(YarnScaling)
    /// One factor for each frequency, other ones for batches longer than `originalLength`.
    case long(short: [Double], long: [Double], originalLength: Int)
  }

  /// Base of the frequencies theta^(-2i/d).
  public var theta: Double
  /// Dimensions of a head that are rotated, from the first on; even.
  public var rotatedSize: Int
  /// Stretching.
  public var scaling: Scaling
  /// Factor of cosines and sines.
  public var attentionFactor = 1.0

  /// The angle that one position adds, for each pair of dimensions.
  ///
  /// - Parameter length: Positions of the longest row, which some kinds of stretching heed.
  /// - Returns: `rotatedSize / 2` frequencies in radians for each position.
  /// - Note: Source: Su et al. 2021, arXiv 2104.09864; llama3 as in the Llama 3.1 release; YaRN:
  ///   Peng et al. 2023, arXiv 2309.00071; long: Ding et al. 2024, arXiv 2402.13753.
  public func frequencies(length: Int = 0) -> [Float] {
    let size = rotatedSize
    func plain(_ theta: Double) -> [Float] {
      // As the reference does: the power in float32, then the reciprocal.
      (0..<size / 2).map { 1 / Float(pow(theta, Double(Float(2 * $0) / Float(size)))) }
    }
    switch scaling {
    case .none: return plain(theta)
    case .linear(let factor): return plain(theta).map { $0 / Float(factor) }
    case .dynamic(let factor, let maximum):
      let share = Double(max(length, maximum)) / Double(maximum)
      let exponent = Double(size) / Double(max(1, size - 2))
      return plain(theta * pow(factor * share - (factor - 1), exponent))
    case .llama3(let factor, let low, let high, let original):
      return plain(theta).map { base in
        let wavelength = 2 * Float.pi / base
        if wavelength > Float(Double(original) / low) { return base / Float(factor) }
        if wavelength < Float(Double(original) / high) { return base }
        let smooth = (Float(original) / wavelength - Float(low)) / Float(high - low)
        return (1 - smooth) * base / Float(factor) + smooth * base
      }
    case .yarn(let yarn):
      let ramp = yarn.ramp(theta: theta, size: size)
      return zip(plain(theta), ramp).map { base, share in
        base / Float(yarn.factor) * share + base * (1 - share)
      }
    case .long(let short, let long, let original):
      return zip(plain(theta), length > original ? long : short).map { base, factor in
        1 / (Float(factor) / base)
      }
    }
  }

  /// Whether the frequencies depend on the length of a batch.
  var dependsOnLength: Bool {
    switch scaling {
    case .dynamic, .long: true
    default: false
    }
  }

  /// Tables for a batch of positions.
  ///
  /// - Parameters:
  ///   - positions: int64 `[batch or 1, length]`.
  ///   - dtype: Type of the activations; angles are computed in float32.
  /// - Returns: Cosines and sines, `[batch or 1, 1, length, rotatedSize]`.
  public func tables(positions: Tensor, dtype: DType) -> (cosine: Tensor, sine: Tensor) {
    // Shapes alone have no largest position.
    let isMeta = positions.device.kind == .meta
    let length =
      !dependsOnLength ? 0 : isMeta ? positions.size(-1) : Int(positions.max().item()) + 1
    let frequencies = Tensor(frequencies(length: length)).to(device: positions.device)
    let angles = positions.to(.float32).unsqueezed(-1) * frequencies  // [B, L, size/2]
    let both = Tensor.concatenated([angles, angles], dimension: -1).unsqueezed(1)
    func scaled(_ table: Tensor) -> Tensor {
      (attentionFactor == 1 ? table : table * attentionFactor).to(dtype)
    }
    return (scaled(both.cosine()), scaled(both.sine()))
  }
}

/// What YaRN stretches.
public struct YarnScaling: Hashable, Sendable {
  /// By how much low frequencies are divided.
  public var factor: Double
  /// Rotations within the original length from which on a frequency is kept.
  public var fast: Double
  /// Rotations within the original length up to which it is divided.
  public var slow: Double
  /// Length of pre-training.
  public var originalLength: Int
  /// Whether the ends of the ramp are rounded to whole dimensions.
  public var truncates: Bool

  /// How much of each frequency is divided, from 0 to 1.
  func ramp(theta: Double, size: Int) -> [Float] {
    func dimension(_ rotations: Double) -> Double {
      Double(size) * log(Double(originalLength) / (rotations * 2 * .pi)) / (2 * log(theta))
    }
    var (low, high) = (dimension(fast), dimension(slow))
    if truncates { (low, high) = (low.rounded(.down), high.rounded(.up)) }
    (low, high) = (max(low, 0), min(high, Double(size - 1)))
    if low == high { high += 0.001 }
    return (0..<size / 2).map {
      min(max((Float($0) - Float(low)) / Float(high - low), 0), 1)
    }
  }
}
