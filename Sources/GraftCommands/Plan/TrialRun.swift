import Checkpoints
import Distributed
import Foundation
import JSONValues
import Training

/// What a few steps of `graft train` on a short model took.
struct TrialRun {
  /// Most memory of the process, in bytes.
  let peak: Double
  /// Most memory that one update held beyond what was there, in bytes.
  let held: Double
  /// Seconds of an update.
  let seconds: Double
  /// Bytes of what is trained.
  let trained: Double
  /// Bytes of the optimiser's state.
  let state: Double
  /// Bytes of a checkpoint.
  let checkpoint: Double
  /// Bytes of the results.
  let result: Double

  /// Trains and measures.
  ///
  /// - Parameters:
  ///   - recipe: The run's options, with the trial's model, data and output.
  ///   - processes: Processes that share it.
  ///   - output: The trial's directory.
  /// - Throws: ``RecipeError`` with the last words of a run that failed.
  init(_ recipe: JSONObject, processes: Int, output: String) throws {
    let path = output + ".json"
    try AtomicFile.write(path: path, text: JSON.object(recipe).serialized(indent: 2) + "\n")
    let steps = recipe["max-steps"]?.stringValue.flatMap { Int($0) } ?? 4
    let words = try OwnProcess.run(
      (processes > 1 ? ["launch", "--processes", "\(processes)", "--"] : [])
        + ["train", "--config", path, "--profile", "\(steps)", "--json", "--quiet"], output: output)
    let profile = try JSON.read(path: words)["profile"]
    held = profile?["held_bytes"]?.doubleValue ?? 0
    let rows = try String(contentsOfFile: output + "/metrics.jsonl", encoding: .utf8)
      .split(separator: "\n").map { try JSON.parse(String($0)) }
      .filter { $0["seconds"] != nil }
    // The last step is recorded, which takes memory and time of its own.
    let measured = rows.dropLast()
    peak = measured.last?["peak_memory_bytes"]?.doubleValue ?? 0
    let times = measured.compactMap { $0["seconds"]?.doubleValue }
    seconds = zip(times.dropFirst(), times).map { $0 - $1 }.min() ?? times.first ?? 0
    let saved = latestCheckpoint(ofRun: output) ?? ""
    func bytes(_ path: String, _ chosen: (String) -> Bool = { _ in true }) -> Double {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
      return names.filter(chosen).reduce(0) { sum, name in
        let found = try? FileManager.default.attributesOfItem(atPath: "\(path)/\(name)")
        return sum + Double((found?[.size] as? Int) ?? 0)
      }
    }
    trained = bytes(saved) { $0.hasSuffix(".safetensors") && !OptimizerFiles.contains($0) }
    state = bytes(saved, OptimizerFiles.contains)
    checkpoint = bytes(saved)
    result = bytes(output) { $0.hasSuffix(".safetensors") || $0.hasSuffix(".json") }
  }
}

/// Two trials of different depth, and what they say of a deeper model: everything grows by the same amount
/// with each block.
struct TrialLine {
  let short: (blocks: Int, run: TrialRun)
  let long: (blocks: Int, run: TrialRun)

  func at(_ blocks: Int, _ figure: KeyPath<TrialRun, Double>) -> Double {
    Self.at(
      blocks, (short.blocks, short.run[keyPath: figure]), (long.blocks, long.run[keyPath: figure]))
  }

  /// The figure of a depth on the line through two others.
  static func at(
    _ blocks: Int, _ first: (blocks: Int, figure: Double), _ last: (blocks: Int, figure: Double)
  ) -> Double {
    guard last.blocks > first.blocks else { return last.figure }
    let slope = (last.figure - first.figure) / Double(last.blocks - first.blocks)
    return max(0, first.figure + slope * Double(blocks - first.blocks))
  }
}
