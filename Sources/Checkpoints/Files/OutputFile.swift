#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// A file descriptor that is written from the beginning to the end.
///
/// Errors name `reportedPath`, the path that the user asked for, not the temporary one.
package struct OutputFile: ~Copyable {
  private let descriptor: Int32
  private let reportedPath: String

  /// Creates a file that must not exist yet.
  package init(creating path: String, for reportedPath: String) throws(CheckpointError) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw .writing(reportedPath, code: errno) }
    _ = flock(descriptor, LOCK_EX | LOCK_NB)  // tells others that it is no leftover
    self.descriptor = descriptor
    self.reportedPath = reportedPath
  }

  /// Opens an existing file or device without cutting it.
  package init(opening path: String) throws(CheckpointError) {
    let descriptor = open(path, O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .writing(path, code: errno) }
    self.descriptor = descriptor
    reportedPath = path
  }

  deinit { close(descriptor) }

  /// Writes all bytes, resuming after partial writes and interruptions.
  package func write(_ bytes: UnsafeRawBufferPointer) throws(CheckpointError) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(1 << 30))
      #if canImport(Darwin)
        let written = Darwin.write(descriptor, piece.baseAddress, piece.count)
      #elseif canImport(Musl)
        let written = Musl.write(descriptor, piece.baseAddress, piece.count)
      #else
        let written = Glibc.write(descriptor, piece.baseAddress, piece.count)
      #endif
      if written < 0 {
        if errno == EINTR { continue }
        throw .writing(reportedPath, code: errno)
      }
      rest = rest.dropFirst(written)
    }
  }

  /// Waits until the data is on the disk.
  package func synchronize() throws(CheckpointError) {
    guard fsync(descriptor) == 0 else { throw .writing(reportedPath, code: errno) }
  }
}

/// The directory part of a path; `.` when there is none.
package func parentDirectory(of path: String) -> String {
  let path = trimmingSlashes(path)
  guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
  let parent = trimmingSlashes(String(path[..<slash]))
  return parent.isEmpty ? "/" : parent
}

/// The last part of a path.
package func lastComponent(of path: String) -> String {
  let path = trimmingSlashes(path)
  guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return path }
  return String(path[path.utf8.index(after: slash)...])
}

private func trimmingSlashes(_ path: String) -> String {
  var view = path.utf8[...]
  while view.count > 1, view.last == UInt8(ascii: "/") { view = view.dropLast() }
  return String(Substring(view))
}

/// Flushes the entries of a directory, so that a rename in it survives a loss of power.
///
/// File systems that cannot flush directories (some network ones) report `EINVAL`: ignored.
package func synchronizeDirectory(_ path: String) throws(CheckpointError) {
  let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
  guard descriptor >= 0 else { throw .writing(path, code: errno) }
  defer { close(descriptor) }
  guard fsync(descriptor) == 0 || errno == EINVAL || errno == EBADF else {
    throw .writing(path, code: errno)
  }
}
