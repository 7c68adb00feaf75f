import Foundation
import JSONValues
public import Tensors

/// How positions become angles of rotary embeddings.
public struct RopeConfiguration: Equatable, Sendable {
  /// How the frequencies are stretched for lengths beyond those of pre-training.
  public enum Scaling: Equatable, Sendable {
    /// Not at all.
    case none
    /// Every frequency divided by `factor`.
    case linear(factor: Double)
    /// Llama 3.1's: low frequencies divided, high ones kept, those between interpolated.
    case llama3(factor: Double, low: Double, high: Double, originalLength: Int)
  }

  /// Base of the frequencies theta^(-2i/d).
  public var theta: Double
  /// Stretching.
  public var scaling: Scaling

  static let supported = ["default", "linear", "llama3"]

  /// Reads both dialects: `rope_parameters` (version 5) and `rope_theta` with `rope_scaling`.
  init(_ reader: ConfigurationReader, defaultTheta: Double) throws(ModelError) {
    let key = reader.has("rope_parameters") ? "rope_parameters" : "rope_scaling"
    let nested = ConfigurationReader(json: reader.json[key] ?? .null, path: reader.path)
    let topTheta = try reader.number("rope_theta", default: defaultTheta)
    theta = try nested.number("rope_theta", default: topTheta)
    let kind = try nested.string("rope_type", default: nested.string("type", default: "default"))
    let maximum = try reader.positive("max_position_embeddings", default: 2048)
    switch kind {
    case "default": scaling = .none
    case "linear": scaling = .linear(factor: try nested.number("factor", default: 1))
    case "llama3":
      scaling = .llama3(
        factor: try nested.number("factor", default: 8),
        low: try nested.number("low_freq_factor", default: 1),
        high: try nested.number("high_freq_factor", default: 4),
        originalLength: try nested.positive(
          "original_max_position_embeddings", default: maximum))
    default:
      throw .unsupported(
        path: reader.path, what: "rope type \"\(kind)\"", supported: Self.supported)
    }
  }

  /// The angle that one position adds, for each pair of dimensions.
  ///
  /// - Parameter size: Rotated dimensions of a head, even.
  /// - Returns: `size / 2` frequencies in radians for each position.
  /// - Note: Source: Su et al. 2021, arXiv 2104.09864; llama3 as in the Llama 3.1 release.
  public func frequencies(size: Int) -> [Float] {
    (0..<size / 2).map { index in
      // As the reference does: the power in float32, then the reciprocal.
      let power = Float(pow(theta, Double(Float(2 * index) / Float(size))))
      let base = 1 / power
      switch scaling {
      case .none: return base
      case .linear(let factor): return base / Float(factor)
      case .llama3(let factor, let low, let high, let length):
        let wavelength = 2 * Float.pi / base
        if wavelength > Float(Double(length) / low) { return base / Float(factor) }
        if wavelength < Float(Double(length) / high) { return base }
        let smooth = (Float(length) / wavelength - Float(low)) / Float(high - low)
        return (1 - smooth) * base / Float(factor) + smooth * base
      }
    }
  }

  /// Tables for a batch of positions.
  ///
  /// - Parameters:
  ///   - positions: int64 `[batch or 1, length]`.
  ///   - size: Rotated dimensions of a head.
  ///   - dtype: Type of the activations; angles are computed in float32.
  /// - Returns: Cosines and sines, `[batch or 1, 1, length, size]`.
  public func tables(positions: Tensor, size: Int, dtype: DType) -> (cosine: Tensor, sine: Tensor) {
    let frequencies = Tensor(frequencies(size: size)).to(device: positions.device)
    let angles = positions.to(.float32).unsqueezed(-1) * frequencies  // [B, L, size/2]
    let both = Tensor.concatenated([angles, angles], dimension: -1).unsqueezed(1)
    return (both.cosine().to(dtype), both.sine().to(dtype))
  }
}
