/// The memory of some tensors, for kernels whose calls write disjoint parts of it.
package struct KernelMemory: @unchecked Sendable {
  private let pointers: [UnsafeMutableRawPointer]

  init(_ tensors: [Tensor]) {
    pointers = tensors.map(\.memory)
  }

  /// The memory of one tensor.
  package subscript(_ index: Int) -> UnsafeMutableRawPointer { pointers[index] }

  /// The memory of one tensor as elements of a type.
  package func elements<Element>(_ index: Int, _ type: Element.Type) -> UnsafeMutablePointer<
    Element
  > {
    pointers[index].assumingMemoryBound(to: type)
  }
}

/// Runs a kernel over ranges of blocks, split over LibTorch's threads.
///
/// - Parameters:
///   - blocks: How many there are.
///   - blockSize: Elements of each.
///   - tensors: Contiguous tensors on the processor, which `kernel` gets the memory of.
///   - name: What the kernel is called in a ``Recording``.
///   - kernel: Does the blocks of a range.
package func forEachBlockRange(
  _ blocks: Int, blockSize: Int, _ tensors: [Tensor], name: StaticString = #function,
  _ kernel: @Sendable (KernelMemory, _ first: Int64, _ end: Int64) -> Void
) {
  guard blocks > 0 else { return }
  let memory = KernelMemory(tensors)
  withScope(.kernel, "\(name)") {
    Runtime.parallelFor(0..<blocks, grain: max(1, 16384 / blockSize)) { range in
      kernel(memory, Int64(range.lowerBound), Int64(range.upperBound))
    }
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

  /// The first element of a tensor on the processor, whose others lie at its strides.
  package func firstElement<Element>(
    _ type: Element.Type = Element.self
  ) -> UnsafeMutablePointer<Element> {
    guard let pointer = firstElement("firstElement") else {
      preconditionFailure("a tensor of shape \(shape) has no memory")
    }
    return pointer.assumingMemoryBound(to: type)
  }
}
