import Checkpoints
import CommandLineParsing
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
    let process = Process()
    process.executableURL = URL(
      fileURLWithPath: Bundle.main.executablePath ?? CommandLine.arguments[0])
    process.arguments =
      (processes > 1 ? ["launch", "--processes", "\(processes)", "--"] : [])
      + ["train", "--config", path, "--profile", "\(steps)", "--json", "--quiet"]
    let outer: Set = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"]
    process.environment = ProcessInfo.processInfo.environment.filter { !outer.contains($0.key) }
    process.standardInput = FileHandle.nullDevice
    // Files, as a pipe that nobody reads would stop it.
    let (words, errors) = (output + ".out", output + ".err")
    for file in [words, errors] { try Data().write(to: URL(fileURLWithPath: file)) }
    process.standardOutput = FileHandle(forWritingAtPath: words)
    process.standardError = FileHandle(forWritingAtPath: errors)
    try process.run()
    process.waitUntilExit()
    guard process.terminationReason == .exit, process.terminationStatus == 0 else {
      let text = (try? String(contentsOfFile: errors, encoding: .utf8)) ?? ""
      let reason =
        "a trial run failed: " + text.split(separator: "\n").suffix(3).joined(separator: "\n")
      // What is wrong with an option is wrong with the command.
      guard process.terminationStatus != ExitCode.usage.rawValue else { throw UsageError(reason) }
      throw RecipeError(reason)
    }
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
    trained = bytes(saved) { $0.hasSuffix(".safetensors") && $0 != "optimizer.safetensors" }
    state = bytes(saved) { $0 == "optimizer.safetensors" }
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
