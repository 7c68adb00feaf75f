private enum Operators {
  static let matmul = Operator("aten::matmul")
  static let addmm = Operator("aten::addmm")
  static let svd = Operator("aten::linalg_svd")
  static let qr = Operator("aten::linalg_qr")
  static let eigh = Operator("aten::linalg_eigh")
  static let eig = Operator("aten::linalg_eig")
  static let real = Operator("aten::real")
  static let imaginary = Operator("aten::imag")
  static let inverse = Operator("aten::linalg_inv")
  static let solve = Operator("aten::linalg_solve")
  static let solveChecked = Operator("aten::linalg_solve_ex")
  static let pseudoinverse = Operator("aten::linalg_pinv", "atol_rtol_float")
  static let attention = Operator("aten::scaled_dot_product_attention")
}

extension Tensor {
  /// Matrix product, batched over leading dimensions.
  ///
  /// ## Shapes
  /// - self: `[..., n, m]`, other: `[..., m, p]`, result: `[..., n, p]`.
  ///
  /// - Parameter other: Right factor.
  /// - Returns: A new tensor.
  public func matrixProduct(_ other: Tensor) -> Tensor {
    Operators.matmul(.tensor(self), .tensor(other))
  }

  /// This tensor plus a matrix product: self + scale * (left right).
  ///
  /// - Parameters:
  ///   - left: `[n, m]`.
  ///   - right: `[m, p]`.
  ///   - scale: Factor of the product.
  /// - Returns: `[n, p]`.
  public func addingMatrixProduct(_ left: Tensor, _ right: Tensor, scale: Double = 1) -> Tensor {
    Operators.addmm(.tensor(self), .tensor(left), .tensor(right), .double(1), .double(scale))
  }

  /// Softmax attention, fused where the device has a kernel.
  ///
  /// softmax(scale q k^T + mask) v; with grouped queries, key/value head j serves the queries
  /// j g ... j g + g - 1.
  ///
  /// ## Shapes
  /// - query: `[batch, heads, length, headSize]`; key and value: `[batch, keyValueHeads, keyLength,
  ///   headSize]`; mask: broadcastable to `[batch, heads, length, keyLength]`, bool (true: may be
  ///   seen) or added to the scores; result: like query.
  ///
  /// - Parameters:
  ///   - query: q, this layer's queries.
  ///   - key: k.
  ///   - value: v.
  ///   - mask: What may be seen; nil for everything.
  ///   - causal: Whether position i sees only keys up to i. Excludes a mask.
  ///   - scale: Factor of the scores; nil for headSize^-0.5.
  /// - Returns: A new tensor.
  public static func attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor? = nil, causal: Bool = false,
    scale: Double? = nil
  ) -> Tensor {
    // LibTorch's own has no kernel that computes shapes alone.
    if query.device.kind == .meta {
      return .empty(
        query.shape.dropLast() + [value.size(-1)], dtype: query.dtype, device: query.device)
    }
    return Operators.attention(
      .tensor(query), .tensor(key), .tensor(value), .optional(mask), .double(0), .bool(causal),
      .optional(scale), .bool(query.size(1) != key.size(1)))
  }

  /// Singular value decomposition: self = U diag(S) V^T.
  ///
  /// ## Shapes
  /// - self: `[..., n, m]` and k = min(n, m). U: `[..., n, k]`, S: `[..., k]` descending,
  ///   Vt: `[..., k, m]`; with `full`, U is `[..., n, n]` and Vt is `[..., m, m]`.
  ///
  /// - Parameter full: Whether U and V are completed to orthogonal matrices.
  /// - Returns: The three factors. Signs of singular vectors are not unique.
  public func singularValueDecomposition(
    full: Bool = false
  ) -> (u: Tensor, s: Tensor, vt: Tensor) {
    let results = Operators.svd.tensors([.tensor(self), .bool(full)])
    return (results[0], results[1], results[2])
  }

  /// QR decomposition: self = Q R with orthonormal columns in Q and an upper triangle R.
  ///
  /// ## Shapes
  /// - self: `[..., n, m]`, k = min(n, m). Q: `[..., n, k]`, R: `[..., k, m]`.
  ///
  /// - Returns: Both factors.
  public func qrDecomposition() -> (q: Tensor, r: Tensor) {
    let results = Operators.qr.tensors([.tensor(self), .string("reduced")])
    return (results[0], results[1])
  }

  /// Eigenvalues, ascending, and orthonormal eigenvectors of a symmetric matrix.
  ///
  /// ## Shapes
  /// - self: `[..., n, n]`, only its lower triangle is read. Values: `[..., n]`, vectors:
  ///   `[..., n, n]`, one in each column.
  ///
  /// - Returns: self = V diag(values) V^T.
  public func symmetricEigenDecomposition() -> (values: Tensor, vectors: Tensor) {
    let results = Operators.eigh.tensors([.tensor(self), .string("L")])
    return (results[0], results[1])
  }

  /// Eigenvalues and eigenvectors of any square matrix, as complex numbers.
  ///
  /// ## Shapes
  /// - self: `[..., n, n]`. Values: `[..., n]`, vectors: `[..., n, n]`, one in each column.
  ///
  /// - Returns: self V = V diag(values); complex64 for float32, complex128 for float64.
  public func eigenDecomposition() -> (values: Tensor, vectors: Tensor) {
    let results = Operators.eig.tensors([.tensor(self)])
    return (results[0], results[1])
  }

  /// Real parts of complex numbers.
  ///
  /// - Returns: A tensor of the same shape, float32 for complex64 and float64 for complex128.
  public func realPart() -> Tensor { Operators.real(.tensor(self)).contiguous() }

  /// Imaginary parts of complex numbers.
  ///
  /// - Returns: A tensor of the same shape, float32 for complex64 and float64 for complex128.
  public func imaginaryPart() -> Tensor { Operators.imaginary(.tensor(self)).contiguous() }

  /// The inverse of a square matrix.
  ///
  /// - Returns: A new tensor; a singular matrix traps.
  public func inverse() -> Tensor { Operators.inverse(.tensor(self)) }

  /// The solution X of self X = right.
  ///
  /// - Parameter right: `[..., n, k]`.
  /// - Returns: `[..., n, k]`; a singular matrix traps.
  public func solve(_ right: Tensor) -> Tensor { Operators.solve(.tensor(self), .tensor(right)) }

  /// The solution X of self X = right, unless this matrix is singular.
  ///
  /// - Parameter right: `[n, k]`.
  /// - Returns: `[n, k]`, or nil when elimination meets a pivot that is exactly zero.
  public func solutionIfRegular(_ right: Tensor) -> Tensor? {
    let results = Operators.solveChecked.tensors([
      .tensor(self), .tensor(right), .bool(true), .bool(false),
    ])
    return results[1].item() == 0 ? results[0] : nil
  }

  /// The Moore-Penrose inverse.
  ///
  /// - Parameter tolerance: Singular values below this share of the largest count as zero.
  /// - Returns: `[m, n]` for a matrix `[n, m]`.
  public func pseudoinverse(relativeTolerance tolerance: Double) -> Tensor {
    Operators.pseudoinverse(.tensor(self), .none, .double(tolerance), .bool(false))
  }

  /// Leading singular values and vectors by randomised subspace iteration.
  ///
  /// Draws a Gaussian test matrix of `rank + oversampling` columns, refines its image by power
  /// iterations with re-orthogonalisation, and decomposes the projection. Exact when the matrix has
  /// at most `rank + oversampling` non-zero singular values; otherwise the expected error falls as
  /// the spectrum decays and with every iteration.
  ///
  /// ## Shapes
  /// - self: `[n, m]`. U: `[n, rank]`, S: `[rank]` descending, Vt: `[rank, m]`.
  ///
  /// - Parameters:
  ///   - rank: How many singular values, in `1...min(n, m)`.
  ///   - oversampling: Extra columns that improve the last of them.
  ///   - iterations: Power iterations.
  ///   - generator: Source of the test matrix, on the processor; nil for the default one.
  /// - Returns: The three factors.
  /// - Complexity: O(n m (rank + oversampling) (iterations + 1)) instead of O(n m min(n, m)).
  /// - Note: Source: Halko, Martinsson and Tropp 2011, arXiv 0909.4061, algorithms 4.4 and 5.1.
  public func randomizedSingularValueDecomposition(
    rank: Int, oversampling: Int = 8, iterations: Int = 2, generator: Generator? = nil
  ) -> (u: Tensor, s: Tensor, vt: Tensor) {
    let (rows, columns) = (size(0), size(1))
    precondition(
      (1...Swift.min(rows, columns)).contains(rank),
      "randomizedSingularValueDecomposition: rank \(rank) of a matrix \(shape)")
    let width = Swift.min(rank + oversampling, Swift.min(rows, columns))
    let test = Tensor.randomNormal([columns, width], dtype: dtype, generator: generator)
      .to(device: device)
    var q = matrixProduct(test).qrDecomposition().q  // [n, width]
    for _ in 0..<iterations {
      let back = transposed().matrixProduct(q).qrDecomposition().q  // [m, width]
      q = matrixProduct(back).qrDecomposition().q
    }
    let (u, s, vt) = q.transposed().matrixProduct(self).singularValueDecomposition()
    return (
      q.matrixProduct(u.narrowed(1, 0..<rank)), s.narrowed(0, 0..<rank),
      vt.narrowed(0, 0..<rank)
    )
  }
}
