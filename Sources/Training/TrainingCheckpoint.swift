import Adapters
import Checkpoints
import Foundation
import JSONValues
import Optimizers
import Tensors

/// One saved state of a run: the adapter, the optimiser, random state and the place in the data.
struct TrainingCheckpoint {
  /// Where in the run it was taken.
  struct Position: Equatable {
    var step = 0
    var epoch = 0
    /// Micro-batches of the epoch that are done.
    var batch = 0
    /// Tokens since the start.
    var tokens = 0
    /// Losses of the updates since the last logged row.
    var pendingLosses: [Double] = []
  }

  let path: String

  /// Writes a checkpoint beside the others; it has its name only when it is whole.
  static func save(
    run: String, position: Position, model: PeftModel, optimizer: AdamW, dataFingerprint: String,
    recipe: JSON, keep: Int
  ) throws {
    let directory = "\(run)/checkpoints"
    do {
      try FileManager.default.createDirectory(
        atPath: directory, withIntermediateDirectories: true)
    } catch {
      throw CheckpointError.cannotWrite(path: directory, reason: error.localizedDescription)
    }
    let name =
      "step-" + String(repeating: "0", count: max(0, 8 - "\(position.step)".count))
      + "\(position.step)"
    let output = try AtomicDirectory(path: "\(directory)/\(name)", existing: .replace)
    try model.savePretrained(output.temporaryPath)
    try SafetensorsWriter.save(
      output.path(of: "optimizer.safetensors"),
      tensors: optimizer.state + [("generator", model.context.generator.state)])
    try AtomicFile.write(
      path: output.path(of: "recipe.json"), text: recipe.serialized(indent: 2) + "\n")
    let state: JSON = [
      "step": .integer(position.step), "epoch": .integer(position.epoch),
      "batch": .integer(position.batch), "data": .string(dataFingerprint),
      "tokens": .integer(position.tokens),
      "pending_losses": .array(position.pendingLosses.map(JSON.number)),
    ]
    try AtomicFile.write(
      path: output.path(of: "state.json"), text: state.serialized(indent: 2) + "\n")
    try output.commit()
    for old in all(run: run).dropLast(keep) { try? FileManager.default.removeItem(atPath: old) }
  }

  /// Paths of the whole checkpoints of a run, oldest first.
  static func all(run: String) -> [String] {
    let directory = "\(run)/checkpoints"
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    return names.filter { $0.hasPrefix("step-") && Int($0.dropFirst(5)) != nil }
      .sorted { (Int($0.dropFirst(5)) ?? 0) < (Int($1.dropFirst(5)) ?? 0) }
      .map { "\(directory)/\($0)" }
  }

  /// The newest checkpoint of a run.
  static func latest(run: String) -> TrainingCheckpoint? {
    all(run: run).last.map(TrainingCheckpoint.init)
  }

  /// Puts everything back and tells where to go on.
  func restore(
    model: PeftModel, optimizer: AdamW, dataFingerprint: String
  ) throws -> Position {
    let state = try JSON.read(path: "\(path)/state.json")
    guard let step = state["step"]?.intValue, let epoch = state["epoch"]?.intValue,
      let batch = state["batch"]?.intValue
    else { throw TrainingError.resume(path: path, reason: "state.json is not complete") }
    guard state["data"]?.stringValue == dataFingerprint else {
      throw TrainingError.resume(
        path: path, reason: "the data, or how it is encoded, is not what the run began with")
    }
    try model.reload(path)
    let file = try SafetensorsFile(path: "\(path)/optimizer.safetensors")
    var tensors: [String: Tensor] = [:]
    for (name, tensor) in try file.tensors() { tensors[name] = tensor }
    try optimizer.load(tensors)
    if let generator = tensors["generator"] {
      model.context.generator.state = generator.cloned()
    }
    return Position(
      step: step, epoch: epoch, batch: batch, tokens: state["tokens"]?.intValue ?? 0,
      pendingLosses: (state["pending_losses"]?.arrayValue ?? []).compactMap(\.doubleValue))
  }
}
