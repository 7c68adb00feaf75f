import Foundation

/// Makes a directory and those above it; one that is there is left as it is.
package func makeDirectory(_ path: String) throws(CheckpointError) {
  do {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  } catch {
    throw .cannotWrite(path: path, reason: error.localizedDescription)
  }
}

/// Makes the directory that an output goes into.
package func makeParentDirectory(of path: String) throws(CheckpointError) {
  try makeDirectory(URL(fileURLWithPath: path).deletingLastPathComponent().path)
}

/// Removes a file.
package func removeFile(_ path: String) throws(CheckpointError) {
  do {
    try FileManager.default.removeItem(atPath: path)
  } catch {
    throw .cannotWrite(path: path, reason: error.localizedDescription)
  }
}
