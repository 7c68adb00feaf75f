import Foundation
import Tensors

/// How a rank is chosen.
public enum RankChoice: Equatable, Sendable {
  /// The same for each layer.
  case rank(Int)
  /// The least that keeps a share of each layer's ||D||^2, in 0...1.
  case energy(Double)

  /// Checks the number.
  ///
  /// - Throws: ``DecompositionError/outOfRange(field:expected:actual:)``.
  public func validate() throws(DecompositionError) {
    switch self {
    case .rank(let rank) where rank < 1:
      throw .outOfRange(field: "rank", expected: "a positive number", actual: "\(rank)")
    case .energy(let share) where !(share > 0 && share <= 1):
      throw .outOfRange(field: "energy", expected: "above 0 and at most 1", actual: "\(share)")
    default: break
    }
  }
}

/// What an approximation cost one layer.
public struct LayerLoss: Equatable, Sendable {
  /// The layer's path in the model.
  public let path: String
  /// Rank before; of a dense update its full one.
  public let rankBefore: Int
  /// Rank now.
  public let rank: Int
  /// ||D||^2 before.
  public let energy: Double
  /// The share of it that is lost.
  public let lost: Double
  /// ||D|| / ||W|| where the base is known.
  public var relativeNorm: Double?
}

extension [LayerLoss] {
  /// The share of the energy of all layers together that is lost.
  public var totalLost: Double {
    let total = reduce(0) { $0 + $1.energy }
    return total > 0 ? reduce(0) { $0 + $1.energy * $1.lost } / total : 0
  }
}

extension LowRankAdapter {
  /// What new rows of A are when the rank grows; new columns of B are zero, so that the update stays
  /// what it is.
  public enum Growth: Equatable, Sendable {
    /// Zero.
    case zeros
    /// As those of a new adapter, uniform in ±1/sqrt(inputSize): with zeros on both sides no gradient
    /// would reach the new rank.
    case trainable(seed: UInt64)
  }

  /// The adapter at other ranks.
  ///
  /// Down, each update becomes the nearest one of the new rank: QR of both factors and singular values
  /// of what is between them, so that the product is never formed. Up, it stays the same bit for bit.
  /// Each layer keeps its scale. Of a DoRA adapter the directions are cut, the magnitudes kept.
  ///
  /// - Parameters:
  ///   - choice: The rank, or the energy to keep; the latter never makes a rank larger.
  ///   - growth: What new rows of A are.
  /// - Returns: The adapter, and what each layer lost.
  /// - Throws: ``DecompositionError`` for a number out of range or factors that are not finite.
  public func resized(
    to choice: RankChoice, growth: Growth = .zeros
  ) throws -> (adapter: LowRankAdapter, losses: [LayerLoss]) {
    try choice.validate()
    var result = self
    var losses: [LayerLoss] = []
    for index in layers.indices {
      let (path, update) = (layers[index].path, layers[index].update)
      let found = try update.decomposition(name: "\(source): \(path)")
      let rank: Int
      switch choice {
      case .rank(let wanted): rank = wanted
      case .energy(let share):
        rank =
          found.energy > 0 ? min(update.rank, found.rank(retaining: share) ?? update.rank) : 1
      }
      if rank >= update.rank {
        result.layers[index].update = update.padded(to: rank, growth, index: index)
      } else if found.energy == 0 {
        // An adapter that was not trained stays one that can be.
        result.layers[index].update.a = update.a.narrowed(0, 0..<rank)
        result.layers[index].update.b = update.b.narrowed(1, 0..<rank)
      } else {
        result.layers[index].update = found.update(rank: rank, scale: update.scale)
      }
      losses.append(
        LayerLoss(
          path: path, rankBefore: update.rank, rank: rank, energy: found.energy,
          lost: rank >= update.rank ? 0 : found.lostShare(atRank: rank)))
    }
    let scaling = configuration.usesRankStabilization
    try result.configuration.describe(
      result.layers.map { layer in
        let rank = Double(layer.update.rank)
        return (
          layer.path, layer.update.rank, layer.update.scale * (scaling ? rank.squareRoot() : rank)
        )
      })
    return (result, losses)
  }
}

extension SingularValueDecomposition {
  /// The first terms as factors under a scale; past the last singular value the factors are zero.
  func update(rank: Int, scale: Double) -> LowRankUpdate {
    let kept = min(rank, values.count)
    let (left, right) = balancedFactors(rank: kept)
    // The sign of a negative scale goes into B, its size into both.
    let root = abs(scale).squareRoot()
    return LowRankUpdate(
      a: right * (1 / root), b: left * ((scale < 0 ? -1 : 1) / root), scale: scale
    ).padded(to: rank, .zeros, index: 0)
  }
}

extension LowRankUpdate {
  fileprivate func padded(
    to rank: Int, _ growth: LowRankAdapter.Growth, index: Int
  ) -> LowRankUpdate {
    let more = rank - self.rank
    guard more > 0 else { return self }
    var rows = Tensor.zeros([more, a.size(1)], dtype: a.dtype, device: a.device)
    if case .trainable(let seed) = growth {
      let bound = 1 / Double(a.size(1)).squareRoot()
      let drawn = Tensor.empty([more, a.size(1)], dtype: .float32)
      drawn.fillUniformInPlace(
        -bound, bound, generator: Generator(seed: seed &+ UInt64(index) &* 0x9E37_79B9_7F4A_7C15))
      rows = drawn.to(a.dtype).to(device: a.device)
    }
    let columns = Tensor.zeros([b.size(0), more], dtype: b.dtype, device: b.device)
    return LowRankUpdate(
      a: .concatenated([a, rows], dimension: 0), b: .concatenated([b, columns], dimension: 1),
      scale: scale)
  }
}
