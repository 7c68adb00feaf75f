import CKernels
package import Tensors

extension Tensor {
  /// A product over no columns at all: the bias, or zero.
  func emptyProduct(_ bias: Tensor?) -> Tensor {
    fillInPlace(0)
    return bias.map { self + $0.detached() } ?? self
  }
}

/// Blocks of a number of elements.
package func blockCount(_ count: Int, _ blockSize: Int) -> Int {
  (count + blockSize - 1) / blockSize
}

/// The type in which numbers of a type are quantised: itself, or float32 where the kernels lack it.
func quantizableType(_ dtype: DType) -> DType {
  [.float32, .float16, .bfloat16].contains(dtype) ? dtype : .float32
}

/// The kernels' number of an element type.
package func floatType(of dtype: DType, in caller: StaticString) -> Int32 {
  switch dtype {
  case .float32: Int32(GRAFT_FLOAT32)
  case .float16: Int32(GRAFT_FLOAT16)
  case .bfloat16: Int32(GRAFT_BFLOAT16)
  default:
    preconditionFailure("\(caller): \(dtype) instead of float32, float16 or bfloat16")
  }
}
