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
  /// Share of x's elements that the update does not see; the others are scaled up.
  public let dropout: Double
  /// Source of dropout.
  public let generator: Generator?

  /// Makes an update.
  ///
  /// - Parameters:
  ///   - a: A, `[rank, inputSize]`.
  ///   - b: B, `[outputSize, rank]`.
  ///   - scale: s.
  ///   - dropout: Share of x's elements that the update does not see, in `0 ..< 1`.
  ///   - generator: Source of dropout; nil for the default one.
  public init(
    a: Tensor, b: Tensor, scale: Double, dropout: Double = 0, generator: Generator? = nil
  ) {
    self.a = a
    self.b = b
    self.scale = scale
    self.dropout = dropout
    self.generator = generator
  }

  /// s with what makes up for dropped elements.
  var fullScale: Double { scale / (1 - dropout) }
}
