public import Tensors

/// A matrix as a sum of orthogonal rank-one ones, largest first: A = U diag(S) V^T, or its beginning.
///
/// Cut after r terms it is the best approximation of rank r in the Frobenius and the spectral norm.
/// Source: Eckart and Young 1936, Psychometrika 1 (3).
public struct SingularValueDecomposition {
  /// Left singular vectors, `[n, k]`, orthonormal columns.
  public let u: Tensor
  /// Singular values, `[k]`, descending.
  public let s: Tensor
  /// Right singular vectors, `[k, m]`, orthonormal rows.
  public let vt: Tensor
  /// The singular values as numbers.
  public let values: [Double]
  /// ||A||^2 in the Frobenius norm, with what lies beyond the last singular value.
  public let energy: Double
  /// A bound of ||A - U diag(S) V^T|| in the spectral norm that fails with probability 1e-10; nil
  /// where all singular values are there.
  public let spectralBound: Double?

  /// Decomposes a matrix completely, in float64 where the device has it.
  ///
  /// - Parameters:
  ///   - matrix: `[n, m]` of any floating-point type.
  ///   - name: What messages call it.
  /// - Throws: ``DecompositionError/notFinite(what:)``, ``DecompositionError/notAMatrix(what:shape:)``.
  /// - Complexity: O(n m min(n, m)).
  public init(_ matrix: Tensor, name: String = "the matrix") throws(DecompositionError) {
    let a = try checkedMatrix(matrix, name).widest
    let (u, s, vt) = withoutGradients { a.singularValueDecomposition() }
    self.init(u: u, s: s, vt: vt)
    guard energy.isFinite else { throw .notFinite(what: name) }
  }

  /// Decomposes scale * left right without forming the product: QR of both factors, then a matrix
  /// no larger than their common dimension.
  ///
  /// - Parameters:
  ///   - left: `[n, r]`.
  ///   - right: `[r, m]`.
  ///   - scale: A factor of the product.
  ///   - name: What messages call it.
  /// - Throws: ``DecompositionError/notFinite(what:)``, ``DecompositionError/notAMatrix(what:shape:)``.
  /// - Precondition: left has as many columns as right has rows.
  /// - Complexity: O((n + m) r^2).
  public init(
    left: Tensor, right: Tensor, scale: Double = 1, name: String = "the product"
  ) throws(DecompositionError) {
    let (b, a) = (try checkedMatrix(left, name).widest, try checkedMatrix(right, name).widest)
    precondition(
      b.size(1) == a.size(0), "singular values of a product \(left.shape) \(right.shape)")
    let (u, s, vt) = withoutGradients {
      let (q, r) = b.qrDecomposition()
      let (p, t) = a.transposed().qrDecomposition()
      let core = r.matrixProduct(t.transposed()) * scale
      // LibTorch does not return from infinities.
      guard core.isAllFinite else { return (core, core, core) }
      let (u, s, vt) = core.singularValueDecomposition()
      return (q.matrixProduct(u), s, vt.matrixProduct(p.transposed()))
    }
    guard s.isAllFinite else { throw .notFinite(what: name) }
    self.init(u: u, s: s, vt: vt)
    guard energy.isFinite else { throw .notFinite(what: name) }
  }

  init(u: Tensor, s: Tensor, vt: Tensor, energy: Double? = nil, spectralBound: Double? = nil) {
    (self.u, self.s, self.vt) = (u, s, vt)
    values = s.array(of: Double.self)
    self.energy = energy ?? values.reversed().reduce(0) { $0 + $1 * $1 }
    self.spectralBound = spectralBound
  }
}

extension SingularValueDecomposition {
  /// ||A - A_r|| in the Frobenius norm, where A_r are the first r terms.
  ///
  /// The vectors are orthonormal, so that this is the root of the energy that is left; no difference
  /// of matrices is formed.
  ///
  /// - Parameter rank: r, at least 0.
  /// - Returns: The error; of what was not computed too.
  public func error(atRank rank: Int) -> Double {
    lostEnergy(atRank: rank).squareRoot()
  }

  /// The share of ||A||^2 that the first r terms do not have.
  ///
  /// - Parameter rank: r, at least 0.
  /// - Returns: In 0...1; 0 for a matrix of zeros.
  public func lostShare(atRank rank: Int) -> Double {
    energy > 0 ? min(1, lostEnergy(atRank: rank) / energy) : 0
  }

  /// The least rank whose terms have a share of ||A||^2.
  ///
  /// - Parameter share: In 0...1.
  /// - Returns: The rank, at least 1; nil when the singular values that were computed do not suffice.
  public func rank(retaining share: Double) -> Int? {
    (1...max(values.count, 1)).first { lostShare(atRank: $0) <= max(1 - share, 1e-15) }
  }

  /// Factors of the first r terms with the singular values divided between them: A_r = left right.
  ///
  /// - Parameter rank: r, from 1 to the number of singular values.
  /// - Returns: `[n, r]` and `[r, m]`.
  public func balancedFactors(rank: Int) -> (left: Tensor, right: Tensor) {
    let root = s.narrowed(0, 0..<rank).squareRoot()
    return (
      u.narrowed(1, 0..<rank) * root.unsqueezed(0), vt.narrowed(0, 0..<rank) * root.unsqueezed(1)
    )
  }

  /// The first r terms as a matrix.
  ///
  /// - Parameter rank: r, from 1 to the number of singular values.
  /// - Returns: `[n, m]`.
  public func matrix(rank: Int) -> Tensor {
    (u.narrowed(1, 0..<rank) * s.narrowed(0, 0..<rank).unsqueezed(0))
      .matrixProduct(vt.narrowed(0, 0..<rank))
  }

  private func lostEnergy(atRank rank: Int) -> Double {
    let beyond = values.dropFirst(rank).reversed().reduce(0) { $0 + $1 * $1 }
    guard spectralBound != nil else { return beyond }
    let known = values.reversed().reduce(0) { $0 + $1 * $1 }
    return max(0, energy - known) + beyond
  }
}

extension Tensor {
  /// In float64, or float32 on a device that has no wider type.
  var widest: Tensor { detached().to(device.kind == .mps ? .float32 : .float64) }

  /// ||A||^2 in the Frobenius norm, summed in float64 where the device has it.
  var energy: Double {
    let norm = widest.norm().item()
    return norm * norm
  }
}

/// A tensor that is a matrix of finite numbers.
func checkedMatrix(_ matrix: Tensor, _ name: String) throws(DecompositionError) -> Tensor {
  guard matrix.rank == 2, matrix.count > 0, matrix.dtype.isFloatingPoint else {
    throw .notAMatrix(what: name, shape: matrix.shape)
  }
  guard matrix.isAllFinite else { throw .notFinite(what: name) }
  return matrix
}
