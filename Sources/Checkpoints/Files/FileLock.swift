import Foundation

/// An exclusive lock on a file, which others of this or another program respect.
///
/// A file system that knows no locks gives it to everyone.
final class FileLock {
  private let descriptor: Int32

  /// Waits for the lock.
  ///
  /// - Parameters:
  ///   - path: A file to lock; it is made where it is not there, and stays.
  ///   - waiting: Called again and again while another holds the lock; what it throws ends the wait.
  /// - Throws: ``CheckpointError``, or what `waiting` throws.
  init(path: String, waiting: () throws -> Void) throws {
    try makeParentDirectory(of: path)
    let opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o664)
    guard opened >= 0 else { throw CheckpointError.writing(path, code: errno) }
    do {
      while flock(opened, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK || errno == EINTR {
        try waiting()
        usleep(100_000)
      }
    } catch {
      close(opened)
      throw error
    }
    descriptor = opened
  }

  deinit { close(descriptor) }
}
