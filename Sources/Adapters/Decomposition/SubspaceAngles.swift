import Foundation
public import Tensors

/// Angles between two subspaces of one space.
public struct SubspaceAngles: Equatable, Sendable {
  /// Principal angles in radians, ascending, as many as the smaller subspace has dimensions: 0 for a
  /// common direction, pi / 2 for one at right angles to the other subspace.
  public let angles: [Double]

  /// Compares the spans of two sets of orthonormal columns.
  ///
  /// Small angles are taken from their sines and large ones from their cosines, so that both are
  /// exact to rounding. Source: Björck and Golub 1973, Mathematics of Computation 27 (123).
  ///
  /// - Parameters:
  ///   - first: `[n, p]`, orthonormal columns.
  ///   - second: `[n, q]`, orthonormal columns.
  /// - Precondition: Both have n rows.
  public init(_ first: Tensor, _ second: Tensor) {
    precondition(
      first.size(0) == second.size(0), "angles between \(first.shape) and \(second.shape)")
    let isNarrow = first.size(1) >= second.size(1)
    let (wide, narrow) = (
      (isNarrow ? first : second).widest, (isNarrow ? second : first).widest
    )
    guard narrow.size(1) > 0 else {
      angles = []
      return
    }
    angles = withoutGradients {
      let product = wide.transposed().matrixProduct(narrow)  // [p, q], q <= p
      let cosines = product.singularValueDecomposition().s.array(of: Double.self)
      let rest = narrow - wide.matrixProduct(product)
      let sines = rest.singularValueDecomposition().s.array(of: Double.self).reversed()
      return zip(cosines, sines).map { cosine, sine in
        cosine > 0.7 ? asin(min(1, sine)) : acos(min(1, max(0, cosine)))
      }
    }
  }

  /// Mean squared cosine, ||P^T Q||^2 / min(p, q): 1 where one subspace contains the other, 0 at right
  /// angles.
  ///
  /// Source: Hu et al. 2021, arXiv 2106.09685, section 7.2.
  public var overlap: Double {
    guard !angles.isEmpty else { return 0 }
    return angles.reduce(0) { $0 + cos($1) * cos($1) } / Double(angles.count)
  }
}
