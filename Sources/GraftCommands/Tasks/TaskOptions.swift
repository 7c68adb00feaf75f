import Adapters
import Checkpoints
import CommandLineParsing
import Foundation
import JSONValues
import Models
import Tensors

/// The task of a model: what the options say, else the adapter's file, else the model's.
enum TaskOptions {
  static let task = Option<ModelTask>(
    "task", default: nil, group: "Model",
    help: "What the model does; default what its files say.")

  static let problem = Option<ProblemType>(
    "problem-type", default: nil, group: "Data",
    help: "What labels of --task sequence-classification are; default what the data look like.")

  /// The task.
  ///
  /// - Parameters:
  ///   - arguments: With `--task` or without.
  ///   - directory: The model's.
  ///   - adapter: The adapter's directory, or nil.
  /// - Returns: The task.
  /// - Throws: `UsageError` where options and adapter differ, `JSONError` or `ModelError` for a model
  ///   that cannot be read.
  static func task(
    _ arguments: ParsedArguments, _ directory: String, adapter: String?
  ) throws -> ModelTask {
    let own = try adapter.flatMap { adapter -> ModelTask? in
      let json = try JSON.read(path: adapter + "/adapter_config.json")
      return json["task_type"]?.stringValue.flatMap(ModelTask.init(adapterType:))
    }
    if let wanted = arguments[task] {
      if let own, own != wanted, arguments.isGiven("task") {
        throw UsageError("--task \(wanted.rawValue): the adapter is for \(own.rawValue)")
      }
      return wanted
    }
    return try own ?? AutoModel.task(of: directory)
  }
}

/// The file beside an adapter that names the classes of its head, which PEFT's files do not.
struct LabelFile {
  static let name = "labels.json"

  /// Reads it.
  ///
  /// - Parameter directory: The adapter's.
  /// - Returns: Names and kind; nil where there is no such file.
  /// - Throws: `CheckpointError` or `JSONError` when it is malformed.
  static func read(_ directory: String) throws -> ModelLabels? {
    let path = directory + "/" + name
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    let json = try JSON.read(path: path)
    guard let list = json["labels"]?.arrayValue, case let names = list.compactMap(\.stringValue),
      names.count == list.count, !names.isEmpty
    else { throw CheckpointError.lacks(path: path, what: "a list of names under \"labels\"") }
    let problem = json["problem_type"]?.stringValue
    guard problem == nil || ProblemType(rawValue: problem ?? "") != nil else {
      throw CheckpointError.mismatch(
        path: path, what: "problem_type",
        expected: ProblemType.allCases.map(\.rawValue).joined(separator: ", "),
        actual: problem ?? "")
    }
    return ModelLabels(names: names, problem: problem.flatMap(ProblemType.init(rawValue:)))
  }

  /// Writes it.
  ///
  /// - Parameters:
  ///   - labels: Names and kind.
  ///   - directory: The adapter's.
  /// - Throws: `CheckpointError` when it cannot be written.
  static func write(_ labels: ModelLabels, to directory: String) throws {
    let json: JSON = [
      "labels": .array(labels.names.map(JSON.string)),
      "problem_type": labels.problem.map { .string($0.rawValue) } ?? .null,
    ]
    try AtomicFile.write(
      path: directory + "/" + name, text: json.serialized(indent: 2) + "\n")
  }

  /// Labels of the head that an adapter's file has, else of the model's directory.
  ///
  /// - Parameters:
  ///   - adapter: The adapter's directory, or nil.
  ///   - model: The model's directory.
  /// - Returns: As many names as the head has outputs.
  /// - Throws: `CheckpointError`, `ModelError` or `JSONError` for a file that cannot be read.
  static func labels(adapter: String?, model: String) throws -> ModelLabels {
    let own = try AutoModel.labels(of: model)
    guard let adapter else { return own }
    // A checkpoint of a run has it in the run's directory.
    if let found = try read(adapter) ?? read(adapter + "/../..") { return found }
    let file = try SafetensorsFile(path: adapter + "/adapter_model.safetensors")
    let ends = [
      ".classifier.weight", ".classifier.out_proj.weight", ".score.weight", ".qa_outputs.weight",
    ]
    let head = file.entries.first { entry in
      entry.shape.count == 2 && ends.contains { entry.name.hasSuffix($0) }
    }
    guard let count = head?.shape.first, count != own.names.count else { return own }
    return ModelLabels(count: count, problem: own.problem)
  }
}

extension ModelSource {
  /// The model for a task with the adapter, if any.
  ///
  /// - Parameters:
  ///   - task: The task.
  ///   - adapter: The adapter's directory, or nil.
  ///   - trainable: Whether training goes on.
  /// - Returns: The model, alone and with its adapter.
  /// - Throws: What opening either throws.
  func model(
    for task: ModelTask, adapter: String?, trainable: Bool = false
  ) throws -> (TaskModel, PeftModel<TaskModel>?) {
    let base = try AutoModel.fromPretrained(
      directory, task: task, labels: try LabelFile.labels(adapter: adapter, model: directory),
      dtype: dtype, device: device, quantization: quantization)
    let peft = try adapter.map { try PeftModel.fromPretrained(base, $0, trainable: trainable) }
    try base.requireHead(directory, brought: peft.map { base.newLayers(in: $0) } ?? [])
    return (base, peft)
  }
}

extension TaskModel {
  /// Layers that began with random numbers and that an adapter has trained.
  func newLayers(in peft: PeftModel<TaskModel>) -> Set<String> {
    let keys = Set(peft.adapterParameters().map(\.key))
    return Set(
      newLayers.filter { path in
        // Beside virtual tokens PEFT's files leave out what stands for the model.
        ["base_model.model.", "base_model."].contains { keys.contains("\($0)\(path).weight") }
      })
  }

  /// Refuses a model with a layer that nobody has trained.
  func requireHead(_ directory: String, brought: Set<String>) throws {
    let missing = newLayers.filter { !brought.contains($0) }
    guard missing.isEmpty else {
      throw ModelError.input(
        "\(directory): the checkpoint has no \(missing.joined(separator: ", ")), which "
          + "\(task.rawValue) needs; train it first")
    }
  }
}
