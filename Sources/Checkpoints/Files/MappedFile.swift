#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif
import Tensors

/// A regular file mapped into memory, read only.
///
/// The mapping lives as long as the object: whoever keeps a pointer into ``bytes`` keeps the object
/// too. Pages are read when they are touched. A file that another process shortens while it is
/// mapped faults on access, as with every mapping; files replaced by a rename (as all writers here
/// do) are safe.
public final class MappedFile: Sendable {
  /// The path as it was given.
  public let path: String

  /// The size of the file in bytes.
  public let count: Int

  nonisolated(unsafe) private let base: UnsafeMutableRawPointer?
  /// Whether the system can read the pages again.
  private let isFile: Bool

  /// Maps a file.
  ///
  /// - Parameter path: an existing regular file; it may be empty.
  /// - Throws: ``CheckpointError/missing(path:)`` or ``CheckpointError/unreadable(path:reason:)``.
  public init(path: String) throws(CheckpointError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .reading(path, code: errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .reading(path, code: errno) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      let isDirectory = status.st_mode & S_IFMT == S_IFDIR
      throw .unreadable(
        path: path, reason: isDirectory ? "it is a directory" : "it is not a regular file")
    }
    let size = Int(status.st_size)
    if size > 0 {
      guard let address = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0),
        address != MAP_FAILED
      else { throw .reading(path, code: errno) }
      base = address
    } else {
      base = nil
    }
    count = size
    isFile = true
    self.path = path
    Self.register(bytes)
  }

  /// Holds a copy of bytes as if they were a file of that path.
  package init(copying bytes: [UInt8], path: String) throws(CheckpointError) {
    self.path = path
    isFile = false
    count = bytes.count
    guard !bytes.isEmpty else {
      base = nil
      return
    }
    let flags = MAP_PRIVATE | MAP_ANON
    guard let address = mmap(nil, bytes.count, PROT_READ | PROT_WRITE, flags, -1, 0),
      address != MAP_FAILED
    else { throw .reading(path, code: errno) }
    UnsafeMutableRawBufferPointer(start: address, count: bytes.count).copyBytes(from: bytes)
    base = address
  }

  deinit {
    if let base {
      if isFile { FileBackedMemory.forget(bytes) }
      munmap(base, count)
    }
  }

  /// The content of the file, valid as long as this object.
  public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

  /// Gives the memory of a part back to the system, which reads it again when it is touched.
  ///
  /// - Parameter range: Bytes of the file; only whole pages inside are given back.
  public func release(_ range: Range<Int>) {
    if isFile { Self.release(range, of: base, count: count) }
  }

  private static func release(_ range: Range<Int>, of base: UnsafeMutableRawPointer?, count: Int) {
    guard let base else { return }
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let start = (range.lowerBound + page - 1) / page * page
    let end = range.upperBound == count ? count : range.upperBound / page * page
    if start < end { _ = madvise(base + start, end - start, MADV_DONTNEED) }
  }

  /// Lets the system begin to read a part, which is in memory then when it is touched.
  ///
  /// - Parameter range: Bytes of the file.
  public func prefetch(_ range: Range<Int>) {
    if isFile { Self.prefetch(range, of: base) }
  }

  private static func prefetch(_ range: Range<Int>, of base: UnsafeMutableRawPointer?) {
    guard let base, !range.isEmpty else { return }
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let start = range.lowerBound / page * page
    _ = madvise(base + start, range.upperBound - start, MADV_WILLNEED)
  }

  /// Makes a mapping of a file known to the tensors that will lie in it.
  static func register(_ bytes: UnsafeRawBufferPointer) {
    let (base, count) = (UInt(bitPattern: bytes.baseAddress), bytes.count)
    FileBackedMemory.register(
      bytes,
      release: { release($0, of: UnsafeMutableRawPointer(bitPattern: base), count: count) },
      prefetch: { prefetch($0, of: UnsafeMutableRawPointer(bitPattern: base)) })
  }

  /// Tells the system that the file will be read once from its beginning to its end.
  public func expectSequentialReading() {
    if let base {
      _ = madvise(base, count, MADV_SEQUENTIAL)
    }
  }
}

extension CheckpointError {
  /// The error for a failed call on an input.
  static func reading(_ path: String, code: Int32) -> CheckpointError {
    if code == ENOENT || code == ENOTDIR {
      return .missing(path: path)
    }
    return .unreadable(path: path, reason: String(cString: strerror(code)))
  }

  /// The error for a failed call on an output.
  static func writing(_ path: String, code: Int32) -> CheckpointError {
    switch code {
    case ENOSPC, EDQUOT: .diskFull(path: path)
    case ENOENT: .parentMissing(path: path, parent: parentDirectory(of: path))
    default: .cannotWrite(path: path, reason: String(cString: strerror(code)))
    }
  }
}
