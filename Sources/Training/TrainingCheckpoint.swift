import Adapters
import Checkpoints
import Datasets
import Distributed
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
  ///
  /// - Parameters:
  ///   - run: The run's directory.
  ///   - position: Where in the run it is.
  ///   - model: What is trained.
  ///   - optimizer: Its optimiser. Where processes share it out, all of them call this, each writes its share
  ///     of the state, and rank 0 everything else; otherwise the one that calls this writes.
  ///   - recipe: For those who go on with the run.
  ///   - keep: How many checkpoints stay.
  /// - Throws: `CheckpointError` and others of writing; `CollectiveError` where another process cannot
  ///   write or is gone.
  static func save(
    run: String, position: Position, model: any TrainableModel, optimizer: any Optimizer,
    recipe: JSON, keep: Int
  ) throws {
    let directory = "\(run)/checkpoints"
    let name =
      "step-" + String(repeating: "0", count: max(0, 8 - "\(position.step)".count))
      + "\(position.step)"
    let path = "\(directory)/\(name)"
    func write(
      _ place: String, _ state: [(name: String, tensor: Tensor)],
      _ metadata: [(key: String, value: String)]
    ) throws {
      try model.writeCheckpoint(to: place)
      try SafetensorsWriter.save(
        "\(place)/\(OptimizerFiles.common)",
        tensors: state + model.trainingState + [("generator", model.generator.state)],
        metadata: metadata)
      try AtomicFile.write(
        path: "\(place)/recipe.json", text: recipe.serialized(indent: 2) + "\n")
      try AtomicFile.write(
        path: "\(place)/state.json", text: position.json.serialized(indent: 2) + "\n")
    }
    if let sharded = optimizer as? ShardedOptimizer {
      try sharded.save(path) { place in
        try write(place, [], OptimizerFiles.commonMetadata(shares: sharded.processCount))
      }
      guard sharded.rank == 0 else { return }
    } else {
      try makeDirectory(directory)
      let output = try AtomicDirectory(path: path, existing: .replace)
      try write(output.temporaryPath, optimizer.state, [("format", "pt")])
      try output.commit()
    }
    removeOld(run: run, keep: keep)
  }

  /// Removes all but the newest checkpoints.
  ///
  /// They get another name first: what a killed process leaves of one must not look like a whole one. It
  /// is removed the next time.
  private static func removeOld(run: String, keep: Int) {
    let (files, directory, mark) = (FileManager.default, "\(run)/checkpoints", ".removed-")
    for old in all(run: run).dropLast(keep) {
      try? files.moveItem(atPath: old, toPath: "\(directory)/\(mark)\(lastComponent(of: old))")
    }
    for name in (try? files.contentsOfDirectory(atPath: directory)) ?? []
    where name.hasPrefix(mark) {
      try? files.removeItem(atPath: "\(directory)/\(name)")
    }
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
    let file = try SafetensorsFile(path: "\(path)/\(OptimizerFiles.common)")
    var tensors: [String: Tensor] = [:]
    for (name, tensor) in try file.tensors() { tensors[name] = tensor }
    model.restoreTrainingState(tensors)
    if let shares = try OptimizerShares(directory: path, common: file) {
      try shares.load(into: optimizer)
    } else {
      try optimizer.load(tensors.filter { !$0.key.hasPrefix("adapter.") })
    }
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
