import Synchronization

/// Mapped files that tensors may lie in.
///
/// The system can take the memory of such a tensor and read it from the file again, so that a model's
/// frozen weights need not be resident all at once.
package enum FileBackedMemory {
  private struct Region {
    let addresses: Range<UInt>
    let release: @Sendable (Range<Int>) -> Void
    let prefetch: @Sendable (Range<Int>) -> Void
  }

  private static let regions = Mutex<[UInt: Region]>([:])

  /// Makes a mapping known.
  ///
  /// - Parameters:
  ///   - bytes: The mapping.
  ///   - release: Gives the memory of some bytes, counted from the mapping's beginning, back to the
  ///     system; called from any thread until ``forget(_:)``.
  ///   - prefetch: Lets the system begin to read some bytes; called likewise.
  package static func register(
    _ bytes: UnsafeRawBufferPointer, release: @escaping @Sendable (Range<Int>) -> Void,
    prefetch: @escaping @Sendable (Range<Int>) -> Void
  ) {
    guard let base = bytes.baseAddress else { return }
    let start = UInt(bitPattern: base)
    let region = Region(
      addresses: start..<start + UInt(bytes.count), release: release, prefetch: prefetch)
    regions.withLock { $0[start] = region }
  }

  /// Undoes ``register(_:release:prefetch:)``, before the mapping ends.
  package static func forget(_ bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress else { return }
    regions.withLock { _ = $0.removeValue(forKey: UInt(bitPattern: base)) }
  }

  /// Calls `body` with the mapping that some memory lies in, and the bytes of it; nil for none.
  ///
  /// The mapping cannot end meanwhile.
  private static func find<Result>(
    _ memory: Range<UInt>, _ body: (_ region: Region, _ range: Range<Int>) -> Result
  ) -> Result? {
    regions.withLock { regions in
      let region = regions.values.first {
        $0.addresses.contains(memory.lowerBound) && memory.upperBound <= $0.addresses.upperBound
      }
      guard let region else { return nil }
      let offset = Int(memory.lowerBound - region.addresses.lowerBound)
      return body(region, offset..<offset + memory.count)
    }
  }

  fileprivate static func release(_ memory: Range<UInt>) {
    _ = find(memory) { $0.release($1) }
  }

  fileprivate static func prefetch(_ memory: Range<UInt>) {
    _ = find(memory) { $0.prefetch($1) }
  }

  fileprivate static func holds(_ memory: Range<UInt>) -> Bool {
    find(memory) { _, _ in true } ?? false
  }
}

extension Tensor {
  /// The memory of a tensor on the processor whose elements lie without gaps; nil for others.
  private var denseMemory: Range<UInt>? {
    guard device.kind == .cpu, byteCount > 0, memoryOrder != nil else { return nil }
    let start = UInt(bitPattern: firstElement("denseMemory"))
    return start..<start + UInt(byteCount)
  }

  /// Gives the memory of a tensor that lies in a mapped file back to the system.
  ///
  /// The system reads it from the file, or its cache of it, when it is used next. Other tensors are left
  /// as they are.
  package func releaseFileBackedMemory() {
    if let memory = denseMemory { FileBackedMemory.release(memory) }
  }

  /// Lets the system begin to read a tensor that lies in a mapped file; others are left as they are.
  package func prefetchFileBackedMemory() {
    if let memory = denseMemory { FileBackedMemory.prefetch(memory) }
  }

  /// Whether the tensor lies in a mapped file.
  package var isFileBacked: Bool { denseMemory.map(FileBackedMemory.holds) ?? false }
}
