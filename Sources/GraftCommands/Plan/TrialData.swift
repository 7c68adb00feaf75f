import Checkpoints
import Foundation
import JSONValues

/// The rows on which a trial runs: those that make the largest micro-batch.
struct TrialData {
  /// Rows of the whole file.
  let rowCount: Int
  /// Rows of the trial.
  let trialRows: Int

  /// Takes the longest rows, by their bytes, and one of each class that has none among them.
  ///
  /// - Parameters:
  ///   - path: The run's data.
  ///   - rows: How many.
  ///   - output: The file to write.
  /// - Throws: `CheckpointError` when the data are not there, what writing throws.
  init(_ path: String, rows: Int, to output: String) throws {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw CheckpointError.missing(path: path)
    }
    let lines = data.split(separator: UInt8(ascii: "\n")).filter { $0.contains { $0 > 32 } }
    rowCount = lines.count
    var chosen = Array(lines.sorted { $0.count > $1.count }.prefix(rows))
    var seen: Set<String> = []
    func label(_ line: Data) -> String? {
      (try? JSON.parse(line))?["label"].map { $0.serialized() }
    }
    for line in chosen { if let label = label(line) { seen.insert(label) } }
    for line in lines {
      if let label = label(line), seen.insert(label).inserted { chosen.append(line) }
    }
    trialRows = chosen.count
    try Data(chosen.joined(separator: Data("\n".utf8)) + Data("\n".utf8))
      .write(to: URL(fileURLWithPath: output))
  }
}
