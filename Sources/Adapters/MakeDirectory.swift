import Checkpoints
import Foundation

/// Makes a directory and those above it.
func makeDirectory(_ path: String) throws(CheckpointError) {
  do {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  } catch {
    throw .cannotWrite(path: path, reason: error.localizedDescription)
  }
}
