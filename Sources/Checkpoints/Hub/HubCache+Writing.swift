import Foundation

extension HubCache {
  /// Makes the folder, with the mark by which backup programs know that it can be left out.
  func create() throws(CheckpointError) {
    try makeDirectory(directory)
    let tag = "\(directory)/CACHEDIR.TAG"
    guard !FileManager.default.fileExists(atPath: tag) else { return }
    try? AtomicFile.write(
      path: tag,
      text: """
        Signature: 8a477f597d28d172789f06886806bc55
        # Downloads from the Hugging Face hub, which can be fetched again.

        """)
  }

  /// Puts a content under its name in a commit: a link relative to where it lies, or, where the
  /// file system knows no links, the content itself.
  func place(
    blob digits: String, as path: String, of name: String, commit: String
  ) throws(CheckpointError) {
    let place = "\(snapshot(of: name, commit: commit))/\(path)"
    let up = String(repeating: "../", count: 2 + path.utf8.count { $0 == UInt8(ascii: "/") })
    let target = "\(up)blobs/\(digits)"
    if (try? FileManager.default.destinationOfSymbolicLink(atPath: place)) == target { return }
    try makeParentDirectory(of: place)
    unlink(place)
    guard symlink(target, place) != 0, errno != EEXIST else { return }
    guard errno == EPERM || errno == ENOTSUP || errno == EOPNOTSUPP || errno == ENOSYS else {
      throw .writing(place, code: errno)
    }
    guard rename(blob(digits, of: name), place) == 0 else { throw .writing(place, code: errno) }
  }

  /// Remembers what a branch or a tag means.
  func remember(_ revision: String, of name: String, commit: String) throws(CheckpointError) {
    guard revision != commit else { return }
    let path = reference(revision, of: name)
    if let old = try? String(contentsOfFile: path, encoding: .utf8), old == commit { return }
    try makeParentDirectory(of: path)
    try AtomicFile.write(path: path, text: commit)
  }

  /// Marks files that a commit does not have, so that nobody asks for them again; where the cache
  /// cannot be written, they are asked for.
  func mark(missing paths: [String], of name: String, commit: String) {
    for path in paths {
      let marker = marker(path, of: name, commit: commit)
      guard !FileManager.default.fileExists(atPath: marker) else { continue }
      guard (try? makeParentDirectory(of: marker)) != nil else { return }
      try? AtomicFile.write(path: marker, bytes: [])
    }
  }
}
