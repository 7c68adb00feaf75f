import Foundation

/// A file that grows while its content arrives, and its checksum with it.
///
/// It keeps its name when the process ends, so that the next one goes on where this one stopped.
final class PartialFile {
  let path: String
  private let descriptor: Int32
  private let digest: HubDigest?
  private let size: Int?
  private var running: MessageDigest?
  /// Bytes that are there.
  private(set) var count = 0

  /// Opens a file, and takes in what is there.
  ///
  /// - Parameters:
  ///   - path: Where it is.
  ///   - size: Bytes of the whole content, where that is known.
  ///   - digest: Checksum of the whole content, where that is known.
  /// - Throws: ``CheckpointError`` or ``HubError/noDigest(_:)``.
  init(path: String, size: Int?, digest: HubDigest?) throws {
    self.path = path
    self.size = size
    self.digest = digest
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw CheckpointError.writing(path, code: errno) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw CheckpointError.writing(path, code: errno) }
    if Int(status.st_size) > size ?? .max {
      try restart()
    } else {
      running = try size.flatMap(begin)
      count = try read(Int(status.st_size), into: running)
    }
  }

  deinit { close(descriptor) }

  /// Throws away what is there.
  func restart() throws {
    guard ftruncate(descriptor, 0) == 0 else { throw CheckpointError.writing(path, code: errno) }
    count = 0
    running = try size.flatMap(begin)
  }

  /// Appends bytes.
  func append(_ data: Data) throws {
    try data.withUnsafeBytes { bytes in
      var written = 0
      while written < bytes.count {
        let piece = UnsafeRawBufferPointer(rebasing: bytes[written...])
        let made = pwrite(descriptor, piece.baseAddress, piece.count, off_t(count + written))
        if made < 0, errno == EINTR { continue }
        guard made > 0 else { throw CheckpointError.writing(path, code: made < 0 ? errno : ENOSPC) }
        written += made
      }
      running?.update(bytes)
    }
    count += data.count
  }

  /// The checksum of what is there, to be asked for once; nil where none was announced.
  func finish() throws -> String? {
    guard digest != nil else { return nil }
    defer { running = nil }
    if let running { return running.finish() }
    // Git's checksum begins with the size, which is known only now.
    let whole = try begin(count)
    _ = try read(count, into: whole)
    return whole?.finish()
  }

  /// Waits until the content is on the disk, and gives it its final name.
  func move(to final: String) throws {
    guard fsync(descriptor) == 0, rename(path, final) == 0 else {
      throw CheckpointError.writing(final, code: errno)
    }
    try synchronizeDirectory(parentDirectory(of: final))
  }

  /// Removes the file.
  func remove() { unlink(path) }

  private func begin(_ size: Int) throws -> MessageDigest? {
    switch digest {
    case nil: return nil
    case .sha256:
      guard let sum = MessageDigest(.sha256) else { throw HubError.noDigest("SHA-256") }
      return sum
    case .gitBlob:
      guard let sum = MessageDigest(.sha1) else { throw HubError.noDigest("SHA-1") }
      Array("blob \(size)\0".utf8).withUnsafeBytes(sum.update)
      return sum
    }
  }

  /// Reads from the beginning; returns how many bytes there were.
  private func read(_ limit: Int, into sum: MessageDigest?) throws -> Int {
    guard let sum else { return limit }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
    defer { buffer.deallocate() }
    var done = 0
    while done < limit {
      let count = pread(
        descriptor, buffer.baseAddress, min(buffer.count, limit - done), off_t(done))
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw CheckpointError.reading(path, code: errno) }
      if count == 0 { break }
      sum.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      done += count
    }
    return done
  }
}
