import Foundation
public import Tensors

/// Classes of distances between positions, as T5 has them: half of them for one distance each, the
/// others for distances that grow by a factor up to a largest one.
public struct RelativePositions: Hashable, Sendable {
  /// Number of classes; with both sides half of them are for keys behind the query.
  public let bucketCount: Int
  /// From this distance on all are in the last class.
  public let maximumDistance: Int

  /// Makes classes.
  ///
  /// - Parameters:
  ///   - bucketCount: Number of classes, at least four and even.
  ///   - maximumDistance: From this distance on all are in the last class; more than a quarter of the
  ///     classes, or half of them where only one side counts.
  public init(bucketCount: Int, maximumDistance: Int) {
    self.bucketCount = bucketCount
    self.maximumDistance = maximumDistance
  }

  /// The class of each pair of positions.
  ///
  /// - Parameters:
  ///   - length: Queries; they are the last of the keys where only one side counts.
  ///   - keyLength: Keys.
  ///   - isBidirectional: Whether keys behind the query count too; else they are as near as itself.
  ///   - device: Where the result lives.
  /// - Returns: int64 `[length, keyLength]`, in `0 ..< bucketCount`.
  /// - Note: Source: Raffel et al. 2020, arXiv 1910.10683, section 2.1.
  public func buckets(
    length: Int, keyLength: Int, isBidirectional: Bool, device: Device = .cpu
  ) -> Tensor {
    let keys = Tensor.arange(0, keyLength, device: device).to(.float32).unsqueezed(0)
    let queries = Tensor.arange(keyLength - length, keyLength, device: device).to(.float32)
      .unsqueezed(1)
    let distance = keys - queries  // [L, K]
    let count = isBidirectional ? bucketCount / 2 : bucketCount
    // The larger of both signs, as LibTorch cannot say the shape of absolute values alone.
    let size = (-distance).maximum(isBidirectional ? distance : distance.zerosLike())
    let exact = count / 2
    // In float32 and in this order, as transformers: distances at a limit fall into the same class.
    let steps =
      (size.clamped(lower: Double(exact)) / Double(exact)).logarithm()
      / log(Double(maximumDistance) / Double(exact)) * Double(count - exact)
    let far = (steps.to(.int64).to(.float32) + Double(exact)).clamped(upper: Double(count - 1))
    // No choice of numbers: LibTorch cannot say the shape of one alone.
    let isFar = (size .>= Double(exact)).to(.float32)
    var found = size + (far - size) * isFar
    if isBidirectional { found = found + (distance .> 0).to(.float32) * Double(count) }
    return found.to(.int64)
  }
}

extension AttentionMask {
  /// The mask with numbers that are added to the scores of what may be seen.
  ///
  /// - Parameter bias: `[1, heads, length, keyLength]`, of the queries' type.
  /// - Returns: A mask whose ``scores`` say all.
  public func adding(_ bias: Tensor) -> AttentionMask {
    var visible = visible
    if isCausal {
      let (length, keyLength) = (bias.size(2), bias.size(3))
      let keys = Tensor.arange(0, keyLength, device: bias.device).unsqueezed(0)
      let queries = Tensor.arange(keyLength - length, keyLength, device: bias.device)
        .unsqueezed(1)
      visible = (keys .<= queries).unsqueezed(0).unsqueezed(0)
    }
    guard let visible else { return AttentionMask(scores: bias) }
    return AttentionMask(
      scores: bias.filled(where: visible .== 0, bias.dtype.lowestFinite))
  }
}
