public import Tensors

/// An update of a weight as two factors: D = scale B A.
public struct LowRankUpdate {
  /// A, `[rank, inputSize]`.
  public var a: Tensor
  /// B, `[outputSize, rank]`.
  public var b: Tensor
  /// The factor of B A.
  public var scale: Double

  /// Makes an update.
  ///
  /// - Parameters:
  ///   - a: `[rank, inputSize]`.
  ///   - b: `[outputSize, rank]`.
  ///   - scale: The factor of B A.
  public init(a: Tensor, b: Tensor, scale: Double = 1) {
    precondition(
      a.rank == 2 && b.rank == 2 && a.size(0) == b.size(1), "factors \(b.shape) and \(a.shape)")
    (self.a, self.b, self.scale) = (a, b, scale)
  }

  /// Rows of A.
  public var rank: Int { a.size(0) }

  /// D as a matrix.
  ///
  /// - Returns: `[outputSize, inputSize]` in float64 where the device has it.
  public func matrix() -> Tensor { b.widest.matrixProduct(a.widest) * scale }

  /// Singular values and vectors of D, which is not formed.
  ///
  /// - Parameter name: What messages call it.
  /// - Returns: As many as the rank, or as the smaller side of D.
  /// - Throws: ``DecompositionError/notFinite(what:)``.
  public func decomposition(
    name: String = "the update"
  ) throws(DecompositionError) -> SingularValueDecomposition {
    try SingularValueDecomposition(left: b, right: a, scale: scale, name: name)
  }

  /// The sum of weighted updates, exactly: their factors side by side.
  ///
  /// - Parameter terms: Updates of one weight; at least one.
  /// - Returns: An update whose rank is the sum of the ranks and whose scale is 1.
  public static func sum(_ terms: [(update: LowRankUpdate, weight: Double)]) -> LowRankUpdate {
    LowRankUpdate(
      a: .concatenated(terms.map { $0.update.a * ($0.weight * $0.update.scale) }, dimension: 0),
      b: .concatenated(terms.map(\.update.b), dimension: 1))
  }

  /// ||D - other|| / ||other|| in the Frobenius norm, neither being formed.
  ///
  /// - Parameters:
  ///   - other: An update of the same weight.
  ///   - name: What messages call it.
  /// - Returns: 0 where both are zero, infinity where only the other is.
  /// - Throws: ``DecompositionError/notFinite(what:)``.
  public func relativeError(
    against other: LowRankUpdate, name: String = "the update"
  ) throws(DecompositionError) -> Double {
    let (own, theirs) = (widened, other.widened)
    let difference = try LowRankUpdate.sum([(own, 1), (theirs, -1)]).decomposition(name: name)
    let norm = try theirs.decomposition(name: name).error(atRank: 0)
    let apart = difference.error(atRank: 0)
    return norm > 0 ? apart / norm : apart > 0 ? .infinity : 0
  }

  private var widened: LowRankUpdate { LowRankUpdate(a: a.widest, b: b.widest, scale: scale) }
}
