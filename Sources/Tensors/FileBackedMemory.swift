import Synchronization

/// Mapped files that tensors may lie in.
///
/// The system can take the memory of such a tensor and read it from the file again, so that a model's
/// frozen weights need not be resident all at once.
package enum FileBackedMemory {
  private struct Region {
    let addresses: Range<UInt>
    let release: @Sendable (Range<Int>) -> Void
  }

  private static let regions = Mutex<[UInt: Region]>([:])

  /// Makes a mapping known.
  ///
  /// - Parameters:
  ///   - bytes: The mapping.
  ///   - release: Gives the memory of some bytes, counted from the mapping's beginning, back to the
  ///     system; called from any thread until ``forget(_:)``.
  package static func register(
    _ bytes: UnsafeRawBufferPointer, release: @escaping @Sendable (Range<Int>) -> Void
  ) {
    guard let base = bytes.baseAddress else { return }
    let start = UInt(bitPattern: base)
    let region = Region(addresses: start..<start + UInt(bytes.count), release: release)
    regions.withLock { $0[start] = region }
  }

  /// Undoes ``register(_:release:)``, before the mapping ends.
  package static func forget(_ bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress else { return }
    regions.withLock { _ = $0.removeValue(forKey: UInt(bitPattern: base)) }
  }

  fileprivate static func release(_ memory: Range<UInt>) {
    regions.withLock { regions in
      for region in regions.values
      where region.addresses.contains(memory.lowerBound)
        && memory.upperBound <= region.addresses.upperBound
      {
        let offset = Int(memory.lowerBound - region.addresses.lowerBound)
        region.release(offset..<offset + memory.count)
      }
    }
  }
}

extension Tensor {
  /// Gives the memory of a tensor that lies in a mapped file back to the system.
  ///
  /// The system reads it from the file, or its cache of it, when it is used next. Other tensors are left
  /// as they are.
  package func releaseFileBackedMemory() {
    guard device.kind == .cpu, isContiguous, byteCount > 0 else { return }
    let start = UInt(bitPattern: firstElement(UInt8.self))
    FileBackedMemory.release(start..<start + UInt(byteCount))
  }
}
