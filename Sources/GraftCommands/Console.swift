import Foundation
import JSONValues

/// Results go to standard output, everything else to standard error.
struct Console {
  /// Whether standard error is a terminal.
  let isTerminal = isatty(2) != 0
  /// Whether this is one of several processes of which another one speaks.
  var isSilent = false

  /// Writes a result; where it cannot be written the process ends with 73.
  func write(_ text: String) {
    if isSilent { return }
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
    if isSilent { return }
    try? FileHandle.standardError.write(contentsOf: Data((line + "\n").utf8))
  }

  /// Asks for input, on the same line.
  func prompt(_ text: String) {
    try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
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
