import Checkpoints
import Collectives
import Foundation
import JSONValues
import Layers
import Optimizers
public import Tensors

extension Accelerator {
  /// Writes what is trained, the optimiser, loss scaling, counts and random states, so that ``load(_:)``
  /// goes on to the same numbers.
  ///
  /// Rank 0 writes; a directory that was there is replaced when the new one is whole. The format is
  /// safetensors and JSON; nothing of a frozen model is in it.
  ///
  /// - Parameters:
  ///   - directory: Where.
  ///   - generators: This process's sources of random numbers, in an order that stays.
  ///   - notes: Whatever else the loop has to know, for example epoch and batch.
  /// - Throws: `CheckpointError` on rank 0, and then, or when another process is gone, `CollectiveError`
  ///   on the others.
  public func save(
    _ directory: String, generators: [Generator] = [], notes: [String: Int] = [:]
  ) throws {
    var states: [(String, Tensor)] = []
    for (index, generator) in generators.enumerated() {
      let all = try processes?.allGather(generator.state, "random states") ?? generator.state
      states.append(("generator.\(index)", all.reshaped([processCount, generator.state.count])))
    }
    if isMainProcess {
      let output = try AtomicDirectory(path: directory, existing: .replace)
      try SafetensorsWriter.save(
        output.path(of: "parameters.safetensors"),
        tensors: trained.map { ($0.name, $0.parameter.value.detached()) })
      try SafetensorsWriter.save(
        output.path(of: "optimizer.safetensors"), tensors: (optimizer?.state ?? []) + states)
      let json: JSON = [
        "updates": .integer(updateCount), "processes": .integer(processCount),
        "loss_scale": scaler.map { .number($0.scale) } ?? nil,
        "good_updates": scaler.map { .integer($0.goodUpdates) } ?? nil,
        "notes": .object(
          JSONObject(notes.sorted { $0.key < $1.key }.map { ($0.key, .integer($0.value)) })),
      ]
      try AtomicFile.write(
        path: output.path(of: "state.json"), text: json.serialized(indent: 2) + "\n")
      try output.commit()
    }
    try processes?.barrier("saved")
  }

  /// Takes back what ``save(_:generators:notes:)`` wrote, with any number of processes.
  ///
  /// Random states come back where as many processes saved them; otherwise the generators stay as they
  /// are.
  ///
  /// - Parameters:
  ///   - directory: Where; all processes read it.
  ///   - generators: In the order in which they were saved.
  /// - Returns: The notes.
  /// - Throws: `CheckpointError` or `OptimizerError` when something is missing or does not fit.
  @discardableResult
  public func load(_ directory: String, generators: [Generator] = []) throws -> [String: Int] {
    func incomplete(_ reason: String) -> CheckpointError {
      .unreadable(path: directory, reason: reason)
    }
    let json = try JSON.read(path: directory + "/state.json")
    guard let updates = json["updates"]?.intValue, let saved = json["processes"]?.intValue else {
      throw incomplete("state.json is not complete")
    }
    let parameters = try SafetensorsFile(path: directory + "/parameters.safetensors")
    var tensors: [String: Tensor] = [:]
    for (name, tensor) in try parameters.tensors() { tensors[name] = tensor }
    for (name, parameter) in trained {
      guard let tensor = tensors[name], tensor.shape == parameter.value.shape else {
        throw incomplete("parameters.safetensors has no \(name) of \(parameter.value.shape)")
      }
    }
    let file = try SafetensorsFile(path: directory + "/optimizer.safetensors")
    var states: [String: Tensor] = [:]
    for (name, tensor) in try file.tensors() { states[name] = tensor }
    try optimizer?.load(states)
    withoutGradients {
      for (name, parameter) in trained {
        if let tensor = tensors[name] { parameter.value.copyInPlace(from: tensor) }
      }
    }
    if saved == processCount {
      for (index, generator) in generators.enumerated() {
        guard let state = states["generator.\(index)"] else {
          throw incomplete("optimizer.safetensors has no generator.\(index)")
        }
        generator.state = state.selected(0, processIndex).cloned()
      }
    }
    updateCount = updates
    if let scaler, let scale = json["loss_scale"]?.doubleValue {
      self.scaler = LossScaler(
        scale: scale, goodUpdates: json["good_updates"]?.intValue ?? 0,
        growthFactor: scaler.growthFactor, backoffFactor: scaler.backoffFactor,
        growthInterval: scaler.growthInterval, minimum: scaler.minimum)
    }
    batchCount = 0
    weight = 0
    guard case .object(let notes)? = json["notes"] else { return [:] }
    var result: [String: Int] = [:]
    for (name, value) in notes { if let number = value.intValue { result[name] = number } }
    return result
  }
}
