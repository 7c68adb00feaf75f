import Checkpoints
import Foundation
public import JSONValues

/// `metrics.jsonl`: one object a logged step.
///
/// A row is in the file when `append` returns, and survives a kill of the process. Every line is
/// valid JSON: numbers that are not finite become null.
public final class MetricsLog {
  private let handle: FileHandle
  /// The file.
  public let path: String

  /// Opens the file of a new or a resumed run.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - lastStep: Rows of later steps are taken out, and a last line that a kill cut short.
  /// - Throws: `CheckpointError` when it cannot be read or written; an old file is then untouched.
  public init(path: String, keepingStepsTo lastStep: Int) throws {
    self.path = path
    let old = try MetricsLog.contents(path)
    var kept = Data()
    for line in old.split(separator: UInt8(ascii: "\n")) {
      guard let row = try? JSON.parse(Data(line)), let step = row["step"]?.intValue,
        step <= lastStep
      else { continue }
      kept.append(line)
      kept.append(UInt8(ascii: "\n"))
    }
    try AtomicFile.write(path: path, bytes: Array(kept))
    guard let handle = FileHandle(forWritingAtPath: path) else {
      throw CheckpointError.cannotWrite(path: path, reason: "it cannot be opened")
    }
    self.handle = handle
    try handle.seekToEnd()
  }

  deinit { try? handle.close() }

  private static func contents(_ path: String) throws(CheckpointError) -> Data {
    guard FileManager.default.fileExists(atPath: path) else { return Data() }
    do {
      return try Data(contentsOf: URL(fileURLWithPath: path))
    } catch {
      throw .unreadable(path: path, reason: error.localizedDescription)
    }
  }

  /// Appends a row.
  ///
  /// - Parameter row: An object with a `step`.
  /// - Throws: `CheckpointError` when the disk is full or gone.
  public func append(_ row: JSON) throws {
    do {
      try handle.write(contentsOf: Data((row.withoutNonFinite.serialized() + "\n").utf8))
    } catch {
      throw CheckpointError.cannotWrite(path: path, reason: error.localizedDescription)
    }
  }
}
