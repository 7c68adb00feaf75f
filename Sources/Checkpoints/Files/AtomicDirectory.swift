#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// A directory that appears under its name only when it is complete.
///
/// Files are written into ``temporaryPath``, a hidden sibling `.<name>.tmp-<pid>`. ``commit()``
/// flushes every file and renames the whole directory. A directory that exists is exchanged with
/// the new one in one step where the system can do that (Linux `RENAME_EXCHANGE`, macOS
/// `RENAME_SWAP`). Elsewhere the old one is first renamed to `.<name>.old`; a crash between the two
/// renames leaves that, and the next `AtomicDirectory` for the same path puts it back.
public final class AtomicDirectory {
  /// What to do about a directory that exists at the final path.
  public enum ExistingDirectory: Sendable {
    /// Refuse, unless it is empty.
    case refuse
    /// Replace it and everything in it.
    case replace
  }

  /// The final path.
  public let path: String

  /// The directory to write into until ``commit()``.
  public var temporaryPath: String { temporary.path }

  private let temporary: TemporaryName
  private let existing: ExistingDirectory
  private var isCommitted = false
  private var lock: Int32 = -1
  private var asidePath: String { "\(parentDirectory(of: path))/.\(lastComponent(of: path)).old" }

  /// Creates the temporary sibling, after removing those that dead processes left.
  ///
  /// - Parameters:
  ///   - path: the final path; its parent must exist.
  ///   - existing: what to do about a directory that exists there.
  /// - Throws: ``CheckpointError/alreadyExists(path:)`` when it exists and may not be replaced, or
  ///   another error when the sibling cannot be created.
  public init(
    path: String, existing: ExistingDirectory = .refuse
  ) throws(CheckpointError) {
    self.path = path
    self.existing = existing
    let temporary = TemporaryName(for: path)
    self.temporary = temporary
    isCommitted = true  // nothing to remove if one of the next steps fails
    recoverFromInterruptedReplacement()
    try checkDestination()
    guard mkdir(temporary.path, 0o777) == 0 else { throw .writing(path, code: errno) }
    isCommitted = false
    lock = open(temporary.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if lock >= 0 {
      _ = flock(lock, LOCK_EX | LOCK_NB)  // tells others that it is no leftover
    }
  }

  deinit {
    if lock >= 0 {
      close(lock)
    }
    if !isCommitted {
      removeTree(temporary.path)
    }
  }

  /// The path, inside the temporary directory, of a file to write.
  ///
  /// - Parameter name: the name of the file in the directory.
  /// - Returns: the path to create the file at before ``commit()``.
  public func path(of name: String) -> String { "\(temporary.path)/\(name)" }

  /// Runs a body that writes into the directory; errors name the final path, not the temporary one.
  ///
  /// - Parameter body: writes files at ``path(of:)``.
  /// - Throws: what `body` throws.
  public func writing(_ body: () throws(CheckpointError) -> Void) throws(CheckpointError) {
    do throws(CheckpointError) {
      try body()
    } catch {
      throw error.renaming(temporaryPath, to: path)
    }
  }

  /// Flushes all files and gives the directory its final name.
  ///
  /// - Throws: ``CheckpointError`` when flushing or renaming fails; an old directory is then whole
  ///   and in place.
  public func commit() throws(CheckpointError) {
    try synchronizeTree(temporary.path)
    try checkDestination()
    if rename(temporary.path, path) == 0 {
      // There was nothing, or an empty directory, which POSIX replaces.
    } else if errno == ENOTEMPTY || errno == EEXIST {
      guard existing == .replace else { throw .alreadyExists(path: path) }
      try replace()
    } else {
      throw .writing(path, code: errno)
    }
    isCommitted = true
    try synchronizeDirectory(parentDirectory(of: path))
  }

  private func replace() throws(CheckpointError) {
    if exchange(temporary.path, path) {
      try synchronizeDirectory(parentDirectory(of: path))
      removeTree(temporary.path)
      return
    }
    removeTree(asidePath)
    guard rename(path, asidePath) == 0 else { throw .writing(path, code: errno) }
    guard rename(temporary.path, path) == 0 else {
      let code = errno
      rename(asidePath, path)
      throw .writing(path, code: code)
    }
    try synchronizeDirectory(parentDirectory(of: path))
    removeTree(asidePath)
  }

  private func recoverFromInterruptedReplacement() {
    var status = stat()
    guard lstat(asidePath, &status) == 0 else { return }
    if lstat(path, &status) == 0 {
      removeTree(asidePath)
    } else {
      rename(asidePath, path)
    }
  }

  private func checkDestination() throws(CheckpointError) {
    var status = stat()
    guard stat(path, &status) == 0 else { return }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      throw .cannotWrite(path: path, reason: "a file that is not a directory has this name")
    }
    if existing == .refuse, let entries = try? directoryEntries(of: path), !entries.isEmpty {
      throw .alreadyExists(path: path)
    }
  }
}

/// Exchanges two paths in one step.
private func exchange(_ left: String, _ right: String) -> Bool {
  #if canImport(Darwin)
    return renamex_np(left, right, UInt32(RENAME_SWAP)) == 0
  #elseif canImport(Glibc)
    // glibc declares renameat2 for _GNU_SOURCE only, which Swift's import does not define.
    typealias RenameAt2 =
      @convention(c) (
        Int32, UnsafePointer<CChar>, Int32, UnsafePointer<CChar>, UInt32
      ) -> Int32
    guard let symbol = dlsym(nil, "renameat2") else { return false }
    let renameAt2 = unsafeBitCast(symbol, to: RenameAt2.self)
    let renameExchange: UInt32 = 2
    return renameAt2(AT_FDCWD, left, AT_FDCWD, right, renameExchange) == 0
  #else
    return false
  #endif
}

/// Flushes every file and directory below a path.
private func synchronizeTree(_ path: String) throws(CheckpointError) {
  for name in try directoryEntries(of: path) {
    let entry = "\(path)/\(name)"
    var status = stat()
    guard lstat(entry, &status) == 0 else { throw .writing(entry, code: errno) }
    if status.st_mode & S_IFMT == S_IFDIR {
      try synchronizeTree(entry)
    } else if status.st_mode & S_IFMT == S_IFREG {
      try OutputFile(opening: entry).synchronize()
    }
  }
  try synchronizeDirectory(path)
}
