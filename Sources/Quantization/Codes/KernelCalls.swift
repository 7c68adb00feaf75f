import CKernels
package import Tensors

/// The memory of some tensors, for kernels whose calls write disjoint parts of it.
struct KernelMemory: @unchecked Sendable {
  private let pointers: [UnsafeMutableRawPointer]

  fileprivate init(_ tensors: [Tensor]) {
    pointers = tensors.map(\.memory)
  }

  /// The memory of one tensor.
  subscript(_ index: Int) -> UnsafeMutableRawPointer { pointers[index] }

  /// The memory of one tensor as elements of a type.
  func elements<Element>(_ index: Int, _ type: Element.Type) -> UnsafeMutablePointer<Element> {
    pointers[index].assumingMemoryBound(to: type)
  }
}

/// Runs a kernel over ranges of blocks, split over LibTorch's threads.
///
/// - Parameters:
///   - blocks: How many there are.
///   - blockSize: Elements of each.
///   - tensors: Contiguous tensors on the processor, which `kernel` gets the memory of.
///   - kernel: Does the blocks of a range.
func forEachBlockRange(
  _ blocks: Int, blockSize: Int, _ tensors: [Tensor],
  _ kernel: @Sendable (KernelMemory, _ first: Int64, _ end: Int64) -> Void
) {
  guard blocks > 0 else { return }
  let memory = KernelMemory(tensors)
  Runtime.parallelFor(0..<blocks, grain: max(1, 16384 / blockSize)) { range in
    kernel(memory, Int64(range.lowerBound), Int64(range.upperBound))
  }
  withExtendedLifetime(tensors) {}
}

extension Tensor {
  /// The memory of a contiguous tensor on the processor, as long as the tensor lives.
  package var memory: UnsafeMutableRawPointer {
    guard let pointer = withUnsafeMutableBytes(\.baseAddress) else {
      preconditionFailure("a tensor of shape \(shape) has no memory")
    }
    return pointer
  }

  /// The same as elements of a type.
  package func elements<Element>(
    _ type: Element.Type = Element.self
  ) -> UnsafeMutablePointer<Element> {
    memory.assumingMemoryBound(to: type)
  }
}

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
