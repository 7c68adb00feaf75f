#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Addresses that stay the same while the memory behind them comes and goes.
///
/// Tensors over it may be kept, also by the pullbacks of a pass, while it is closed. Reading one then
/// ends the process, so that numbers which are not there are never taken for zeros.
package final class ReservedMemory: Sendable {
  /// Bytes, positive.
  package let count: Int

  nonisolated(unsafe) private let base: UnsafeMutableRawPointer

  /// Reserves addresses, closed.
  ///
  /// - Parameter count: Bytes, positive.
  package init(count: Int) {
    precondition(count > 0, "ReservedMemory: \(count) bytes")
    let flags = MAP_PRIVATE | MAP_ANON | MAP_NORESERVE
    guard let address = mmap(nil, count, PROT_NONE, flags, -1, 0), address != MAP_FAILED else {
      fatalError("no addresses for \(count) bytes: \(String(cString: strerror(errno)))")
    }
    base = address
    self.count = count
  }

  deinit { munmap(base, count) }

  /// Makes the memory readable and writable; after ``close()`` it is zeros.
  package func open() {
    guard mprotect(base, count, PROT_READ | PROT_WRITE) == 0 else {
      fatalError("no memory for \(count) bytes: \(String(cString: strerror(errno)))")
    }
  }

  /// Gives the memory back to the system.
  package func close() {
    madvise(base, count, MADV_DONTNEED)
    mprotect(base, count, PROT_NONE)
  }

  /// A tensor over a part of the memory.
  ///
  /// - Parameters:
  ///   - offset: Byte of its first element, aligned for its type.
  ///   - shape: Size of each dimension.
  ///   - dtype: Element type.
  /// - Returns: A tensor that keeps the addresses, but not what stands there.
  package func tensor(at offset: Int, shape: [Int], dtype: DType) -> Tensor {
    precondition(
      offset + shape.reduce(dtype.byteCount, *) <= count,
      "ReservedMemory: \(dtype)\(shape) at \(offset) of \(count) bytes")
    return .aliasing(base + offset, shape: shape, dtype: dtype, owner: self)
  }

  /// Whether a tensor on the processor lies in this memory.
  package func holds(_ tensor: Tensor) -> Bool {
    guard tensor.device.kind == .cpu, let start = tensor.firstElement("holds") else { return false }
    return UInt(bitPattern: base)..<UInt(bitPattern: base) + UInt(count)
      ~= UInt(bitPattern: start)
  }
}
