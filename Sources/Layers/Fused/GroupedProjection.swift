package import Tensors

/// A frozen projection that can compute a group of its kind over the same rows together, and what low
/// rank adds to their outputs in the same pass.
///
/// Nothing is recorded. The plain way, layer by layer, is that of `LinearGroup`; where `nil` comes
/// back, it is taken.
package protocol GroupedProjection: LinearProjection {
  /// Whether a product costs little enough to be computed again instead of keeping what it gave.
  var isQuick: Bool { get }
  /// Whether gradients are rounded on their way back, so that other functions may round what they keep.
  var roundsGradients: Bool { get }

  /// Outputs of layers that read the same rows: x W_i^T + b_i + n_i F_i.
  ///
  /// - Parameters:
  ///   - rows: `[N, in]`.
  ///   - group: The layers, this one first.
  ///   - terms: What is added to each output; nil for nothing.
  ///   - memory: Contiguous float32 `[N, out]` for each, which is written to; nil for new tensors.
  /// - Returns: `[N, out]` of each; nil where they cannot be computed together.
  func outputs(
    _ rows: Tensor, of group: [any LinearProjection], adding terms: [NarrowTerm?],
    into memory: [Tensor]?
  ) -> [Tensor]?

  /// The gradient of the rows from those of a group's outputs: the sum of g_i W_i, and n F.
  ///
  /// - Parameters:
  ///   - gradients: `[N, out]` of each layer; nil for zero.
  ///   - group: The layers, this one first.
  ///   - term: What is added; nil for nothing.
  /// - Returns: `[N, in]`; nil where it cannot be computed together.
  func pulledBack(
    _ gradients: [Tensor?], of group: [any LinearProjection], adding term: NarrowTerm?
  ) -> Tensor?
}

extension GroupedProjection {
  /// Not.
  package var isQuick: Bool { false }

  /// Not.
  package var roundsGradients: Bool { false }

  /// Never.
  package func outputs(
    _ rows: Tensor, of group: [any LinearProjection], adding terms: [NarrowTerm?],
    into memory: [Tensor]?
  ) -> [Tensor]? { nil }
}

/// A product of low rank that is added to a wider one.
package struct NarrowTerm {
  /// Contiguous float32 `[N, width]`, some columns of which are the left factor n.
  package let rows: Tensor
  /// Those columns.
  package let columns: Range<Int>
  /// The right factor F, contiguous float32 `[columns.count, out]`.
  package let factor: Tensor

  /// Makes a term.
  package init(rows: Tensor, columns: Range<Int>, factor: Tensor) {
    self.rows = rows
    self.columns = columns
    self.factor = factor
  }

  /// Stops the program where a kernel would read past the end.
  ///
  /// - Parameters:
  ///   - count: Rows of what it is added to.
  ///   - outputs: Columns of that.
  package func require(rows count: Int, outputs: Int) {
    precondition(
      rows.dtype == .float32 && factor.dtype == .float32 && rows.rank == 2
        && rows.size(0) == count && columns.upperBound <= rows.size(1) && columns.lowerBound >= 0
        && factor.shape == [columns.count, outputs],
      "NarrowTerm: adding \(columns) of \(rows.shape) by \(factor.shape)")
  }
}
