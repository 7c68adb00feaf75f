import Adapters
import Checkpoints
import Collectives
import CommandLineParsing
import Foundation
import JSONValues
import Models
import Optimizers
import Training

/// The options of a run, from wherever they come: the command line over `--set` over `--config` over
/// the recipe of a run that is resumed over the defaults.
struct TrainRecipe {
  /// Every option.
  private(set) var arguments: ParsedArguments
  /// The run's directory.
  let directory: String
  /// The processes that share the run; nil for one.
  let processes: ProcessGroup?
  /// Whether the run goes on from where it stopped.
  let isResumed: Bool
  /// Options that differ from those that the resumed run began with.
  let changes: [String]
  /// What the files of DeepSpeed and Accelerate come to, for people.
  let fileTables: [String]

  /// Options that say how the command is used, not what the run is.
  private static let transient: Set = [
    "config", "deepspeed", "accelerate-config", "set", "resume", "print-recipe", "overwrite",
    "profile", "quiet", "json", "threads", "processes", "nodes", "network",
  ]
  /// Options that make the adapter; a resumed run has it.
  private static let adapterOptions = [
    "method", "adapter", "adapter-config", "rank", "alpha", "dropout", "target-modules",
    "modules-to-save", "bias", "rslora", "virtual-tokens", "prompt-text", "init-lora-weights",
    "adapter-fields", "calibration-batches",
  ]
  /// Options that name files.
  private static let paths: Set = [
    "model", "adapter", "adapter-config", "data", "eval-data", "output", "chat-template",
  ]
  /// The file beside the results.
  static let fileName = "recipe.json"

  /// Puts the options together.
  ///
  /// - Parameters:
  ///   - given: The command line.
  ///   - processes: Those that share the run; nil for one.
  ///   - processCount: How many share the run, where they are not there yet; nil for what the
  ///     environment says.
  /// - Throws: `UsageError`, and what reading recipes and files throws.
  init(
    _ given: ParsedArguments, processes: ProcessGroup? = nil, processCount: Int? = nil
  ) throws {
    self.processes = processes
    var arguments = given
    var pairs: [(name: String, value: String)] = []
    for setting in given.values(TrainOptions.set) {
      guard let equals = setting.firstIndex(of: "=") else {
        throw UsageError("--set \(setting): expected key=value")
      }
      pairs.append((String(setting[..<equals]), String(setting[setting.index(after: equals)...])))
    }
    let file = try given[TrainOptions.config].map { path in (path, try RecipeFile.read(path)) }
    for (name, source) in pairs.map({ ($0.name, "--set") })
      + (file.map { file in file.1.map { ($0.name, file.0) } } ?? [])
    where Self.transient.contains(name) && name != "threads" {
      throw UsageError("\(source): \(name) belongs on the command line, not into a recipe")
    }
    func merge() throws {
      if let (path, entries) = file {
        let set = Set(pairs.map(\.name))
        try arguments.merge(entries.filter { !set.contains($0.name) }, source: path)
      }
      try arguments.merge(pairs, source: "--set")
    }
    try merge()
    let stated = arguments
    let count = try processes?.size ?? processCount ?? World.detect(Self.variables)?.size ?? 1
    func mergeFiles() throws -> [String] {
      let files = try RunFiles(given, stated: stated, current: arguments, processes: count)
      for file in files.all { try arguments.merge(file.options, source: file.source) }
      return files.all.map(\.text)
    }
    guard let run = given[TrainOptions.resume] else {
      fileTables = try mergeFiles()
      if !arguments[TrainOptions.printRecipe] {
        try arguments.require(ModelOptions.model, TrainOptions.data, TrainOptions.output)
      }
      try Self.checkAdapter(given)
      self.arguments = arguments
      directory = arguments[TrainOptions.output] ?? ""
      isResumed = false
      changes = []
      return
    }
    directory = run.isEmpty ? try arguments.value(TrainOptions.output) : run
    isResumed = true
    if let output = given[TrainOptions.output], Self.absolute(output) != Self.absolute(directory) {
      throw UsageError("--resume \(directory) goes on there; --output \(output) cannot be another")
    }
    if FileManager.default.fileExists(atPath: "\(directory)/state.json") {
      throw UsageError(
        "--resume \(directory): this is a checkpoint; give the directory of its run, which goes on "
          + "from the newest one")
    }
    let path = "\(directory)/\(Self.fileName)"
    guard FileManager.default.fileExists(atPath: path) else {
      throw TrainingError.resume(path: directory, reason: "it has no \(Self.fileName) of a run")
    }
    let saved = try RecipeFile.read(path)
    try arguments.merge(saved, source: path)
    try merge()
    fileTables = try mergeFiles()
    self.arguments = arguments
    changes = try Self.pairs(arguments).compactMap { name, value in
      let before = saved.first { $0.name == name }?.value
      guard name != "output", before != value else { return nil }
      let change = "\(name): \(before ?? "not set") before, \(value ?? "not set") now"
      guard !Self.adapterOptions.contains(name) else {
        throw UsageError("--resume: the adapter is made already; \(change)")
      }
      if name == "optimizer", let old = before.flatMap(OptimizerKind.init),
        let new = value.flatMap(OptimizerKind.init), !new.continues(old)
      {
        throw UsageError("--resume: the state is another optimiser's; \(change)")
      }
      return change
    }
  }

  private static var variables: [String: String] { ProcessInfo.processInfo.environment }

  /// An adapter to go on with is not written over.
  private static func checkAdapter(_ given: ParsedArguments) throws {
    guard given.isGiven("adapter") else { return }
    if let output = given[TrainOptions.output], let adapter = given[ModelOptions.adapter],
      absolute(output) == absolute(adapter)
    {
      throw UsageError("--output \(output) is the adapter to go on with; choose another directory")
    }
  }

  private static func absolute(_ path: String) -> String {
    URL(fileURLWithPath: path).standardizedFileURL.path
  }

  /// Settles an option that depends on the model, so that the saved recipe says it.
  mutating func settle(_ name: String, _ value: String) throws {
    if !arguments.isGiven(name) { try arguments.merge([(name, value)], source: "the model") }
  }

  /// Every option as it is used.
  var json: JSON {
    .object(JSONObject(Self.pairs(arguments).map { ($0.name, $0.value.map(JSON.string) ?? nil) }))
  }

  private static func pairs(_ arguments: ParsedArguments) -> [(name: String, value: String?)] {
    arguments.resolved().filter { !transient.contains($0.name) }.map { name, value in
      // Files are named absolutely, so that a run can be resumed from anywhere.
      guard paths.contains(name), let value,
        name == "output" || FileManager.default.fileExists(atPath: value)
      else { return (name, value) }
      return (name, absolute(value))
    }
  }

  /// Checks that the directory does not hold another run, or empties it where that is wanted.
  func prepareDirectory() throws {
    let files = FileManager.default
    let names = (try? files.contentsOfDirectory(atPath: directory)) ?? []
    let ours: Set = [
      "metrics.jsonl", "checkpoints", "adapter_config.json", "adapter_model.safetensors",
      "adapter_encoder.safetensors", LabelFile.name, Self.fileName, "config.json",
      "model.safetensors", ProfileFiles.trace, ProfileFiles.tables,
    ]
    let found = names.filter(ours.contains)
    if !isResumed && !found.isEmpty {
      // The model that a run trained as a whole is the run's own.
      guard !names.contains("config.json") || names.contains(Self.fileName) else {
        throw CheckpointError.cannotWrite(
          path: directory, reason: "it holds a model; choose another directory")
      }
      guard arguments[TrainOptions.overwrite] else {
        throw TrainingError.outputExists(path: directory)
      }
      let curves = names.filter { $0.hasPrefix("events.out.tfevents.") }
      for name in found + curves {
        do {
          try files.removeItem(atPath: "\(directory)/\(name)")
        } catch {
          throw CheckpointError.cannotWrite(
            path: "\(directory)/\(name)", reason: error.localizedDescription)
        }
      }
    }
    try makeDirectory(directory)
  }

  /// Writes the recipe beside the results.
  func save() throws {
    try AtomicFile.write(
      path: "\(directory)/\(Self.fileName)", text: json.serialized(indent: 2) + "\n")
  }
}
