import Adapters
import Checkpoints
import Datasets
import Foundation
import JSONValues
import Models
import Optimizers
import Tensors

/// The newest checkpoint of a run.
///
/// - Parameter run: The run's directory.
/// - Returns: What was trained with the state of the run beside it, or nil.
public func latestCheckpoint(ofRun run: String) -> String? {
  TrainingCheckpoint.latest(run: run)?.path
}

/// One saved state of a run: what is trained, the optimiser, random state and the place in the data.
struct TrainingCheckpoint {
  /// Where in the run it was taken.
  struct Position: Equatable {
    /// Updates made.
    var step = 0
    /// The place in the data; nil at the start.
    var data: BatchPosition?
    /// Tokens since the start.
    var tokens = 0
    /// Losses of the updates since the last logged row.
    var pendingLosses: [Double] = []
    /// Loss of the last logged row.
    var lastLoss = 0.0
    /// The scale of losses; nil without one.
    var lossScale: JSON?
  }

  let path: String

  /// Writes a checkpoint beside the others; it has its name only when it is whole.
  static func save(
    run: String, position: Position, model: any TrainableModel,
    optimizerState: [(name: String, tensor: Tensor)], recipe: JSON, keep: Int
  ) throws {
    let directory = "\(run)/checkpoints"
    try makeDirectory(directory)
    let name =
      "step-" + String(repeating: "0", count: max(0, 8 - "\(position.step)".count))
      + "\(position.step)"
    let output = try AtomicDirectory(path: "\(directory)/\(name)", existing: .replace)
    try model.writeCheckpoint(to: output.temporaryPath)
    try SafetensorsWriter.save(
      output.path(of: "optimizer.safetensors"),
      tensors: optimizerState + model.trainingState
        + [("generator", model.generator.state)])
    try AtomicFile.write(
      path: output.path(of: "recipe.json"), text: recipe.serialized(indent: 2) + "\n")
    try AtomicFile.write(
      path: output.path(of: "state.json"), text: position.json.serialized(indent: 2) + "\n")
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
  func restore(model: any TrainableModel, optimizer: any Optimizer) throws -> Position {
    guard let position = Position(json: try JSON.read(path: "\(path)/state.json")) else {
      throw TrainingError.resume(path: path, reason: "state.json is not complete")
    }
    try model.reload(path)
    let file = try SafetensorsFile(path: "\(path)/optimizer.safetensors")
    var tensors: [String: Tensor] = [:]
    for (name, tensor) in try file.tensors() { tensors[name] = tensor }
    model.restoreTrainingState(tensors)
    try optimizer.load(tensors.filter { !$0.key.hasPrefix("adapter.") })
    if let generator = tensors["generator"] {
      model.generator.state = generator.cloned()
    }
    return position
  }
}

extension TrainingCheckpoint.Position {
  /// The content of `state.json`.
  var json: JSON {
    [
      "step": .integer(step), "epoch": .integer(data?.epoch ?? 0),
      "batch": .integer(data?.batchIndex ?? 0), "order": .string(data?.order ?? ""),
      "tokens": .integer(tokens), "pending_losses": .array(pendingLosses.map(JSON.number)),
      "last_loss": .number(lastLoss), "loss_scale": lossScale ?? .null,
    ]
  }

  /// Reads `state.json`; nil when something is missing.
  init?(json: JSON) {
    guard let step = json["step"]?.intValue, let epoch = json["epoch"]?.intValue,
      let batch = json["batch"]?.intValue, let order = json["order"]?.stringValue,
      let tokens = json["tokens"]?.intValue, let losses = json["pending_losses"]?.arrayValue,
      let lastLoss = json["last_loss"]?.doubleValue
    else { return nil }
    self.init(
      step: step, data: BatchPosition(epoch: epoch, batchIndex: batch, order: order),
      tokens: tokens, pendingLosses: losses.compactMap(\.doubleValue), lastLoss: lastLoss,
      lossScale: json["loss_scale"])
  }
}
