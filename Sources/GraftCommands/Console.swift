import Checkpoints
import Foundation
import JSONValues

/// Results go to standard output, everything else to standard error.
struct Console {
  /// Whether standard error is a terminal.
  let isTerminal = isatty(2) != 0

  /// Writes a result; where it cannot be written the process ends with 73.
  func write(_ text: String) {
    do {
      try FileHandle.standardOutput.write(contentsOf: Data(text.utf8))
    } catch {
      log("graft: standard output cannot be written: \(error.localizedDescription)")
      exit(ExitCode.cannotWrite.rawValue)
    }
  }

  func write(_ json: JSON) {
    write(json.withoutNonFinite.serialized(escapeNonASCII: false) + "\n")
  }

  func log(_ line: String) {
    try? FileHandle.standardError.write(contentsOf: Data((line + "\n").utf8))
  }

  /// Draws a line over the one before, on a terminal.
  func redraw(_ line: String) {
    try? FileHandle.standardError.write(contentsOf: Data(("\r\u{1B}[K" + line).utf8))
  }
}

extension Double {
  /// With a fixed number of digits behind the point.
  func fixed(_ digits: Int) -> String { String(format: "%.\(digits)f", self) }
}

extension FileManager {
  /// Makes a directory and those above it.
  func makeDirectory(_ path: String) throws(CheckpointError) {
    do {
      try createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw .cannotWrite(path: path, reason: error.localizedDescription)
    }
  }

  /// Makes the directory that an output goes into.
  func makeParent(of path: String) throws(CheckpointError) {
    try makeDirectory(URL(fileURLWithPath: path).deletingLastPathComponent().path)
  }
}
