import Synchronization

/// How many parts the rows of a product are split into, for each of its panels of outputs.
///
/// Where panels are few, parts of the rows give every thread several of them, so that none waits long
/// for the last; but a thread that does a part makes the panel first, which is worth some rows.
///
/// - Parameters:
///   - rows: Rows of the product.
///   - panels: Its panels.
/// - Returns: At least 1.
package func partsOfRows(_ rows: Int, panels: Int) -> Int {
  let wanted = (8 * Runtime.threadCount + panels - 1) / panels
  return max(1, min((rows + 95) / 96, wanted))
}

/// Does the parts of a kernel's product of matrices, split over LibTorch's threads.
///
/// - Parameters:
///   - product: What the kernel gets; it must live until this returns.
///   - count: Its parts.
///   - workspace: Bytes of memory that one thread needs.
///   - multiplications: All of them, for a ``Recording``.
///   - perPart: Those of one part: some 2^19 are worth a thread.
///   - name: What the kernel is called in a ``Recording``.
///   - oneByOne: Whether a thread takes the next part when it has done one, so that a faster thread does
///     more; otherwise each gets its neighbouring ones at once, which may share work.
///   - kernel: Does the parts from one up to another, and may get ready what the same thread does next:
///     a part, or the count for nothing.
package func multiplyParts<Product>(
  _ product: UnsafePointer<Product>, count: Int64, workspace: Int64, multiplications: Int,
  perPart: Int, name: StaticString, oneByOne: Bool = false,
  _ kernel:
    @Sendable (
      UnsafePointer<Product>, _ first: Int64, _ end: Int64, _ next: Int64, UnsafeMutableRawPointer
    ) -> Void
) {
  // Threads read it and write disjoint parts of the result.
  nonisolated(unsafe) let product = product
  let grain = max(1, (1 << 19) / max(perPart, 1))
  let next = Atomic<Int64>(0)
  let callers = Atomic<Int>(0)
  // A large tensor's memory is there again for the next product, pages and all.
  let slot = (Int(workspace) + 63) / 64 * 64
  let users = Swift.min(Runtime.threadCount, Int(count))
  let slots = Tensor.empty([Swift.max(users * slot + 64, 256 << 10)], dtype: .uint8)
  nonisolated(unsafe) let first = slots.memory.alignedUp(toMultipleOf: 64)
  withScope(.kernel, "\(name)", operations: 2 * multiplications) {
    // Where one by one, the ranges only say how many threads there are.
    Runtime.parallelFor(0..<Int(count), grain: grain) { range in
      let caller = callers.wrappingAdd(1, ordering: .relaxed).oldValue
      precondition(caller < users, "\(name): more parts at a time than threads")
      let memory = first + caller * slot
      guard oneByOne else {
        let end = Int64(range.upperBound)
        kernel(product, Int64(range.lowerBound), end, count, memory)
        return
      }
      var part = next.wrappingAdd(1, ordering: .relaxed).oldValue
      while part < count {
        let following = next.wrappingAdd(1, ordering: .relaxed).oldValue
        kernel(product, part, part + 1, following, memory)
        part = following
      }
    }
  }
  withExtendedLifetime(slots) {}
}
