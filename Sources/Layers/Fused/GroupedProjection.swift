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

  /// How the rows of this layer's gradients become codes on their way back; nil where they do not, or not
  /// each by itself.
  func gradientRounding() -> GradientRounding?

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

/// Rows of a layer's gradients in codes: g times a factor for each column, rounded.
///
/// What goes through a gradient's rows anyway can make the codes, too.
package struct GradientRounding {
  /// The factors, float32 `[out]`.
  package let columnFactors: Tensor
  private let product: (CodedRows, NarrowTerm?, Tensor?) -> Tensor

  /// Makes a description.
  ///
  /// - Parameters:
  ///   - columnFactors: float32 `[out]`.
  ///   - product: As ``pulledBack(_:adding:to:)``.
  package init(
    columnFactors: Tensor,
    product: @escaping (_ rows: CodedRows, _ term: NarrowTerm?, _ sum: Tensor?) -> Tensor
  ) {
    self.columnFactors = columnFactors
    self.product = product
  }

  /// g W of a gradient in codes.
  ///
  /// - Parameters:
  ///   - rows: g.
  ///   - term: What is added; nil for nothing.
  ///   - sum: float32 `[N, in]`, which the result is added to in its place; nil for none.
  /// - Returns: float32 `[N, in]`.
  package func pulledBack(_ rows: CodedRows, adding term: NarrowTerm?, to sum: Tensor?) -> Tensor {
    product(rows, term, sum)
  }
}

extension GroupedProjection {
  /// Not.
  package var isQuick: Bool { false }

  /// Not.
  package var roundsGradients: Bool { false }

  /// They do not.
  package func gradientRounding() -> GradientRounding? { nil }

  /// Never.
  package func outputs(
    _ rows: Tensor, of group: [any LinearProjection], adding terms: [NarrowTerm?],
    into memory: [Tensor]?
  ) -> [Tensor]? { nil }
}
