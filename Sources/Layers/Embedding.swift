public import Tensors

/// A table with a row of numbers for each token.
public final class Embedding: Module {
  /// The table, `[count, size]`.
  public var weight: Parameter

  /// Makes a layer.
  ///
  /// - Parameter weight: The table, `[count, size]`; may be shared with an output head.
  public init(weight: Parameter) { self.weight = weight }

  /// Looks rows up.
  ///
  /// - Parameter ids: int64 row numbers of any shape.
  /// - Returns: Their shape and `size`.
  public func callAsFunction(_ ids: Tensor) -> Tensor { weight.value.embedding(ids) }

  /// `weight`.
  ///
  /// - Parameter transform: Gets the parameter's name.
  public func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    weight = transform("weight", weight)
  }
}
