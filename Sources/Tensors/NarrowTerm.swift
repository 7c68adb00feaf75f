package import CKernels

/// A product of low rank that is added to a wider one, s n F.
package struct NarrowTerm {
  /// Float32 `[N, width]`, contiguous, some columns of which are the left factor n.
  package let rows: Tensor
  /// Those columns.
  package let columns: Range<Int>
  /// The right factor F, float32 `[columns.count, out]` of any strides.
  package let factor: Tensor
  /// s.
  package let scale: Double

  /// Makes a term.
  package init(rows: Tensor, columns: Range<Int>, factor: Tensor, scale: Double = 1) {
    self.rows = rows
    self.columns = columns
    self.factor = factor
    self.scale = scale
  }

  /// Stops the program where a kernel would read past the end.
  ///
  /// - Parameters:
  ///   - count: Rows of what it is added to.
  ///   - outputs: Columns of that.
  package func require(rows count: Int, outputs: Int) {
    precondition(
      rows.dtype == .float32 && factor.dtype == .float32 && rows.rank == 2 && rows.isContiguous
        && rows.size(0) == count && columns.upperBound <= rows.size(1) && columns.lowerBound >= 0
        && factor.shape == [columns.count, outputs],
      "NarrowTerm: adding \(columns) of \(rows.shape) by \(factor.shape)")
  }

  /// s n F.
  ///
  /// - Returns: `[N, out]`.
  package func product() -> Tensor { rows.narrowed(1, columns).matrixProduct(factor) * scale }
}

extension NarrowTerm? {
  /// What kernels get, as long as the term's tensors live.
  package var forKernels: graft_narrow_term {
    guard let self, !self.columns.isEmpty else {
      return graft_narrow_term(
        rows: nil, factor: nil, stride: 0, factor_row: 0, factor_step: 0, rank: 0, scale: 0)
    }
    let strides = self.factor.strides
    return graft_narrow_term(
      rows: UnsafePointer(self.rows.elements(Float.self) + self.columns.lowerBound),
      factor: UnsafePointer(self.factor.firstElement(Float.self)),
      stride: Int64(self.rows.size(1)), factor_row: Int64(strides[0]),
      factor_step: Int64(strides[1]), rank: Int64(self.columns.count), scale: Float(self.scale))
  }
}
