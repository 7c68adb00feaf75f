public import Tensors

/// A frozen projection with at most one low-rank update on it: y = x W^T + b + s x A^T B^T.
///
/// What functions over several layers need to know of a layer to compute it themselves.
public struct ExplicitProjection {
  /// The frozen projection.
  public let base: any LinearProjection
  /// The update; nil for none.
  public let update: LowRankTerm?

  /// Makes a description.
  ///
  /// - Parameters:
  ///   - base: The frozen projection.
  ///   - update: What is added to it; nil for nothing.
  public init(base: any LinearProjection, update: LowRankTerm? = nil) {
    self.base = base
    self.update = update
  }
}

/// The factors of a low-rank update s B A.
public struct LowRankTerm {
  /// A, `[rank, inputSize]`.
  public let a: Tensor
  /// B, `[outputSize, rank]`.
  public let b: Tensor
  /// s.
  public let scale: Double

  /// Makes an update.
  ///
  /// - Parameters:
  ///   - a: A, `[rank, inputSize]`.
  ///   - b: B, `[outputSize, rank]`.
  ///   - scale: s.
  public init(a: Tensor, b: Tensor, scale: Double) {
    self.a = a
    self.b = b
    self.scale = scale
  }
}
