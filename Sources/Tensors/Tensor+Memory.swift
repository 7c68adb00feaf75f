private enum Operators {
  static let set = Operator("aten::set_", "source_Tensor")
}

extension Tensor {
  /// Leaves its memory and takes another tensor's, with its shape and order of elements.
  ///
  /// Whoever refers to this tensor sees it; views that were made of it stay with the old memory.
  ///
  /// - Parameter other: A tensor of the same type.
  package func takeMemory(of other: Tensor) {
    precondition(dtype == other.dtype, "takeMemory: \(dtype) takes \(other.dtype)")
    withoutGradients { _ = Operators.set(.tensor(self), .tensor(other)) }
  }

  /// The dimensions by the distance of neighbours in memory, the largest first.
  ///
  /// A matrix that is stored by columns has `[1, 0]`; nil where elements lie apart or share memory.
  package var memoryOrder: [Int]? {
    let strides = strides
    let order = strides.indices.sorted { (strides[$0], $1) > (strides[$1], $0) }
    return permuted(order).isContiguous ? order : nil
  }
}
