import Tensors

extension DType {
  /// What products and decompositions of numbers of some types are computed in: float64 where one of
  /// them is, else float32, also for half precision.
  static func computing(_ types: DType...) -> DType {
    types.contains(.float64) ? .float64 : .float32
  }
}
