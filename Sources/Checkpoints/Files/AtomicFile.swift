#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// A file that appears under its name only when it is complete.
///
/// The bytes go into a hidden sibling, `.<name>.tmp-<pid>`. ``commit()`` flushes it to the disk and
/// renames it over the final name, which POSIX does in one step; an object that goes away without
/// ``commit()`` removes it.
public final class AtomicFile {
  /// The final path.
  public let path: String

  private let temporary: TemporaryName
  private let output: OutputFile
  private var isCommitted = false

  /// Creates the temporary sibling, and removes those that dead processes left for this path.
  ///
  /// - Parameter path: the final path; its directory must exist.
  /// - Throws: ``CheckpointError`` when the sibling cannot be created.
  public init(path: String) throws(CheckpointError) {
    self.path = path
    let temporary = TemporaryName(for: path)
    output = try OutputFile(creating: temporary.path, for: path)
    self.temporary = temporary
  }

  deinit {
    if !isCommitted {
      unlink(temporary.path)
    }
  }

  /// Appends bytes.
  ///
  /// - Parameter bytes: the next bytes of the file.
  /// - Throws: ``CheckpointError`` when the disk is full or the write fails.
  public func write(_ bytes: UnsafeRawBufferPointer) throws(CheckpointError) {
    try output.write(bytes)
  }

  /// Appends bytes.
  ///
  /// - Parameter bytes: the next bytes of the file.
  /// - Throws: ``CheckpointError`` when the disk is full or the write fails.
  public func write(_ bytes: [UInt8]) throws(CheckpointError) {
    try bytes.withUnsafeBufferPointer { (bytes) throws(CheckpointError) in
      try output.write(UnsafeRawBufferPointer(bytes))
    }
  }

  /// Flushes the file and gives it its final name, replacing a file of that name.
  ///
  /// - Throws: ``CheckpointError`` when flushing or renaming fails; the old file is then untouched.
  public func commit() throws(CheckpointError) {
    try output.synchronize()
    guard rename(temporary.path, path) == 0 else { throw .writing(path, code: errno) }
    isCommitted = true
    try synchronizeDirectory(parentDirectory(of: path))
  }

  /// Writes a whole file in one step.
  ///
  /// - Parameters:
  ///   - path: the final path; its directory must exist.
  ///   - bytes: the content.
  /// - Throws: ``CheckpointError`` when the file cannot be written; an old file is then untouched.
  public static func write(path: String, bytes: [UInt8]) throws(CheckpointError) {
    let file = try AtomicFile(path: path)
    try file.write(bytes)
    try file.commit()
  }

  /// Writes a whole text file in one step, in UTF-8.
  ///
  /// - Parameters:
  ///   - path: the final path; its directory must exist.
  ///   - text: the content.
  /// - Throws: ``CheckpointError`` when the file cannot be written; an old file is then untouched.
  public static func write(path: String, text: String) throws(CheckpointError) {
    try write(path: path, bytes: Array(text.utf8))
  }
}
