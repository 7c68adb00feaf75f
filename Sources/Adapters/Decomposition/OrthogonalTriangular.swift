public import Tensors

/// A = Q R with orthonormal columns in Q and an upper triangle R whose diagonal is not negative,
/// which makes both unique where the columns of A are independent.
public struct OrthogonalTriangular {
  /// `[n, k]`, k = min(n, m), orthonormal columns.
  public let q: Tensor
  /// `[k, m]`, zero below its diagonal.
  public let r: Tensor

  /// Decomposes a matrix.
  ///
  /// - Parameters:
  ///   - matrix: `[n, m]`.
  ///   - name: What messages call it.
  /// - Throws: ``DecompositionError/notFinite(what:)``, ``DecompositionError/notAMatrix(what:shape:)``.
  public init(_ matrix: Tensor, name: String = "the matrix") throws(DecompositionError) {
    let a = try checkedMatrix(matrix, name).widest
    let (q, r) = withoutGradients { a.qrDecomposition() }
    let negative = (r.diagonal() .< 0).to(r.dtype)
    let signs = negative * -2 + 1.0
    self.q = q * signs.unsqueezed(0)
    self.r = r * signs.unsqueezed(1)
  }

  /// The matrix's projection on the span of its first r columns, Q_r R_r.
  ///
  /// - Parameter rank: r, from 1 to min(n, m).
  /// - Returns: `[n, m]`.
  public func matrix(rank: Int) -> Tensor {
    q.narrowed(1, 0..<rank).matrixProduct(r.narrowed(0, 0..<rank))
  }

  /// ||A - Q_r R_r|| in the Frobenius norm: the length of the rows of R that are left out.
  ///
  /// - Parameter rank: r, from 0 to min(n, m).
  /// - Returns: The error; never less than that of singular values.
  public func error(atRank rank: Int) -> Double {
    rank >= r.size(0) ? 0 : r.narrowed(0, rank..<r.size(0)).norm().item()
  }
}
