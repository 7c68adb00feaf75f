/// The products of a low-rank update s x A^T B^T and of its gradients, recording nothing.
extension Tensor {
  /// x A^T.
  ///
  /// - Parameter a: A, `[rank, columns]`.
  /// - Returns: `[N, rank]` of these rows `[N, columns]`.
  package func narrowProduct(_ a: Tensor) -> Tensor {
    let rank = a.size(0)
    guard RowPass.takes(rank: rank), a.dtype == .float32, var pass = RowPass(self) else {
      return linear(a)
    }
    let result = Tensor.empty([size(0), rank], dtype: .float32)
    pass.multiply(by: a, into: RowPass.Columns(result))
    pass("narrow_product")
    return result
  }

  /// As ``RowSource/summed(times:)``.
  package func summed(times left: Tensor) -> Tensor { RowSource(self).summed(times: left) }

  /// What passes back to the narrow side of a product of low rank, s g B, and the gradient of B, s g^T n, in
  /// one pass over these gradients g, `[N, outputs]`.
  ///
  /// - Parameters:
  ///   - b: B, `[outputs, rank]`.
  ///   - narrow: n, `[N, rank]`.
  ///   - scale: s.
  ///   - needsB: Whether the gradient of B is wanted.
  ///   - target: Where s g B is written to, `[N, rank]`; nil for a new tensor.
  /// - Returns: s g B, and the gradient of B, `[outputs, rank]`.
  package func narrowGradients(
    b: Tensor, narrow: RowPass.Columns, scale: Double, needsB: Bool,
    into target: RowPass.Columns? = nil
  ) -> (inner: Tensor, ofB: Tensor?) {
    guard RowPass.takes(rank: b.size(1)), b.dtype == .float32, narrow.matrix.dtype == .float32,
      var pass = RowPass(self)
    else {
      let inner = pulledBack(throughB: b, scale: scale)
      let ofB = needsB ? gradientOfB(narrow: narrow.tensor, scale: scale) : nil
      return (target?.tensor.copyInPlace(from: inner) ?? inner, ofB)
    }
    let target =
      target ?? RowPass.Columns(Tensor.empty([size(0), b.size(1)], dtype: .float32))
    pass.pullBack(throughB: b, narrow: narrow, scale: scale, needsB: needsB, into: target)
    return (target.tensor, pass("narrow_gradients").sum)
  }

  /// Rows in codes, each column times a factor first.
  ///
  /// - Parameter columnFactors: float32 `[columns]`.
  /// - Returns: Nil where no pass can do it.
  package func rounded(columnFactors: Tensor) -> CodedRows? {
    guard var pass = RowPass(self) else { return nil }
    pass.round(columnFactors: columnFactors)
    return pass("quantize_rows").coded
  }

  /// s g B by a product of matrices.
  private func pulledBack(throughB b: Tensor, scale: Double) -> Tensor {
    let weight = b.transposed()
    return Runtime.usesFastProducts && isMultipliedByKernel(weight)
      ? kernelProduct(weight, scale: scale) : linear((b * scale).transposed())
  }

  /// s g^T n by a product of matrices.
  private func gradientOfB(narrow: Tensor, scale: Double) -> Tensor {
    let (rows, weight) = (transposed(), narrow.transposed())
    if Runtime.usesFastProducts, rows.isMultipliedByKernel(weight) {
      return rows.kernelProduct(weight, scale: scale)
    }
    // Transposed, as libraries are slow where the result has few columns.
    return weight.linear(rows).multiplyInPlace(scale).transposed().contiguous()
  }
}

extension RowPass {
  /// Adds both sides of a low-rank update's gradient to what is computed of these rows, as
  /// ``Tensor/narrowGradients(b:narrow:scale:needsB:into:)`` does.
  package mutating func pullBack(
    throughB b: Tensor, narrow: Columns, scale: Double, needsB: Bool, into target: Columns
  ) {
    multiply(by: b.transposed(), scale: scale, into: target)
    if needsB { add(Sum(left: narrow, scale: scale, isTransposed: true)) }
  }
}

extension RowSource {
  /// The sum over rows, l^T x: the gradient of A, where l is what passes back through it.
  ///
  /// - Parameter left: l, `[N, rank]`.
  /// - Returns: `[rank, columns]` of these rows `[N, columns]`; nothing is recorded.
  package func summed(times left: Tensor) -> Tensor {
    guard RowPass.takes(rank: left.size(1)), left.dtype == .float32, var pass = RowPass(self)
    else { return left.transposed().linear(tensor.transposed()) }
    pass.add(RowPass.Sum(left: RowPass.Columns(left.contiguous())))
    return pass("narrow_sum").sum ?? left.zerosLike()
  }
}
