#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif
import Synchronization

/// The hidden sibling that an output is written into: `.<name>.tmp-<pid>`, or
/// `.<name>.tmp-<pid>-<n>` while this process already writes one for the same name.
///
/// The names in use by this process are remembered, so that a leftover of an earlier process that
/// happened to have the same process id (usual in containers) is recognised as such. Writers hold a
/// lock (`flock`) on what they write, which goes away with them.
final class TemporaryName: Sendable {
  let path: String

  private static let inUse = Mutex<Set<String>>([])

  /// Chooses a free name and removes what dead processes left for the same output.
  init(for output: String) {
    let parent = parentDirectory(of: output)
    let stem = ".\(lastComponent(of: output)).tmp-"
    path = Self.inUse.withLock { names in
      Self.removeLeftovers(in: parent, stem: stem, inUse: names)
      let first = "\(parent)/\(stem)\(getpid())"
      var name = first
      var attempt = 0
      while names.contains(name) {
        attempt += 1
        name = "\(first)-\(attempt)"
      }
      names.insert(name)
      return name
    }
  }

  deinit {
    _ = Self.inUse.withLock { $0.remove(path) }
  }

  private static func removeLeftovers(in parent: String, stem: String, inUse: Set<String>) {
    for name in (try? directoryEntries(of: parent)) ?? [] where name.hasPrefix(stem) {
      let suffix = name.utf8.dropFirst(stem.utf8.count)
      let digits = suffix.prefix { $0 != UInt8(ascii: "-") }
      guard let process = Int32(String(Substring(digits))), process > 0 else { continue }
      let isMine = process == getpid()
      let isAlive = kill(process, 0) == 0 || errno == EPERM
      let path = "\(parent)/\(name)"
      if isMine ? !inUse.contains(path) : !isAlive, !isLocked(path) {
        removeTree(path)
      }
    }
  }
}

/// Whether a writer holds a file or directory: one that is invisible here, in another container or
/// on another machine that shares the disk, or one of this process under another spelling.
private func isLocked(_ path: String) -> Bool {
  let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC)
  guard descriptor >= 0 else { return false }
  defer { close(descriptor) }
  return flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK
}

/// The names in a directory, without `.` and `..`.
func directoryEntries(of path: String) throws(CheckpointError) -> [String] {
  guard let directory = opendir(path) else { throw .reading(path, code: errno) }
  defer { closedir(directory) }
  var names: [String] = []
  while let entry = readdir(directory) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    if name != "." && name != ".." {
      names.append(name)
    }
  }
  return names
}

/// Removes a file or a whole directory, following no symbolic link.
func removeTree(_ path: String) {
  var status = stat()
  guard lstat(path, &status) == 0 else { return }
  guard status.st_mode & S_IFMT == S_IFDIR else {
    unlink(path)
    return
  }
  for name in (try? directoryEntries(of: path)) ?? [] {
    removeTree("\(path)/\(name)")
  }
  rmdir(path)
}

/// Bytes of the file that a path leads to, or nil when there is none.
func fileSize(of path: String) -> Int? {
  var status = stat()
  return stat(path, &status) == 0 ? Int(status.st_size) : nil
}
