#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif
import Tensors

/// A file without a name, mapped into memory for reading and writing; it begins as zeros.
///
/// The system writes pages that were changed to the disk, and drops them from memory, when memory
/// is short; tensors that lie in it can give their memory back before. The file is gone when the object
/// is, however the process ends.
public final class ScratchFile: Sendable {
  /// The size in bytes.
  public let count: Int

  nonisolated(unsafe) private let base: UnsafeMutableRawPointer

  /// Makes a file, with room on the disk for all of it.
  ///
  /// - Parameters:
  ///   - directory: An existing directory of the disk that takes the content.
  ///   - count: Size in bytes, positive.
  /// - Throws: ``CheckpointError/diskFull(path:)`` when there is no room,
  ///   ``CheckpointError/parentMissing(path:parent:)`` or ``CheckpointError/cannotWrite(path:reason:)``.
  public init(directory: String, count: Int) throws(CheckpointError) {
    precondition(count > 0, "ScratchFile: \(count) bytes")
    let path = TemporaryName(for: "\(directory)/scratch").path
    let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw .writing(path, code: errno) }
    defer { close(descriptor) }
    unlink(path)
    #if canImport(Darwin)
      // The system has no such call; a full disk shows when pages are written.
      guard ftruncate(descriptor, off_t(count)) == 0 else { throw .writing(path, code: errno) }
    #else
      // Without room for every page a write to the mapping could not report that the disk is full.
      let code = posix_fallocate(descriptor, 0, off_t(count))
      guard code == 0 else { throw .writing(path, code: code) }
    #endif
    guard let address = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0),
      address != MAP_FAILED
    else { throw .writing(path, code: errno) }
    base = address
    self.count = count
    MappedFile.register(UnsafeRawBufferPointer(bytes))
  }

  deinit {
    FileBackedMemory.forget(UnsafeRawBufferPointer(bytes))
    munmap(base, count)
  }

  /// The content, valid as long as this object.
  public var bytes: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: base, count: count)
  }
}
