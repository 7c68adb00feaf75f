import Adapters
import Checkpoints
import CommandLineParsing
import Foundation
import JSONValues
import Models
import Training

/// The options of a run, from wherever they come: the command line over `--set` over `--config` over
/// the recipe of a run that is resumed over the defaults.
struct TrainRecipe {
  /// Every option.
  private(set) var arguments: ParsedArguments
  /// The run's directory.
  let directory: String
  /// Whether the run goes on from where it stopped.
  let isResumed: Bool
  /// Options that differ from those that the resumed run began with.
  let changes: [String]

  /// Options that say how the command is used, not what the run is.
  private static let transient: Set = [
    "config", "set", "resume", "print-recipe", "overwrite", "quiet", "json", "threads",
  ]
  /// The file beside the results.
  static let fileName = "recipe.json"

  init(_ given: ParsedArguments) throws {
    var arguments = given
    var pairs: [(name: String, value: String)] = []
    for setting in given.values(TrainOptions.set) {
      guard let equals = setting.firstIndex(of: "=") else {
        throw UsageError("--set \(setting): expected key=value")
      }
      pairs.append((String(setting[..<equals]), String(setting[setting.index(after: equals)...])))
    }
    let file = try given[TrainOptions.config].map { path in (path, try RecipeFile.read(path)) }
    func merge() throws {
      if let (path, entries) = file {
        let set = Set(pairs.map(\.name))
        try arguments.merge(entries.filter { !set.contains($0.name) }, source: path)
      }
      try arguments.merge(pairs, source: "--set")
    }
    try merge()
    guard let run = given[TrainOptions.resume] else {
      if !arguments[TrainOptions.printRecipe] {
        try arguments.require(ModelOptions.model, TrainOptions.data, TrainOptions.output)
      }
      self.arguments = arguments
      directory = arguments[TrainOptions.output] ?? ""
      isResumed = false
      changes = []
      return
    }
    directory = run.isEmpty ? try arguments.value(TrainOptions.output) : run
    isResumed = true
    let path = "\(directory)/\(Self.fileName)"
    guard FileManager.default.fileExists(atPath: path) else {
      throw TrainingError.resume(path: directory, reason: "it has no \(Self.fileName) of a run")
    }
    let saved = try RecipeFile.read(path)
    try arguments.merge(saved, source: path)
    try merge()
    self.arguments = arguments
    changes = Self.pairs(arguments).compactMap { name, value in
      let before = saved.first { $0.name == name }?.value
      return name == "output" || before == value
        ? nil : "\(name): \(before ?? "not set") before, \(value ?? "not set") now"
    }
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
    arguments.resolved().filter { !transient.contains($0.name) }
  }

  /// Checks that the directory does not hold another run, or empties it where that is wanted.
  func prepareDirectory() throws {
    let files = FileManager.default
    let names = (try? files.contentsOfDirectory(atPath: directory)) ?? []
    let ours: Set = [
      "metrics.jsonl", "checkpoints", "adapter_config.json", "adapter_model.safetensors",
      Self.fileName, "config.json", "model.safetensors",
    ]
    let found = names.filter(ours.contains)
    if !isResumed && !found.isEmpty {
      guard arguments[TrainOptions.overwrite], !names.contains("config.json") else {
        throw TrainingError.outputExists(path: directory)
      }
      for name in found {
        do {
          try files.removeItem(atPath: "\(directory)/\(name)")
        } catch {
          throw CheckpointError.cannotWrite(
            path: "\(directory)/\(name)", reason: error.localizedDescription)
        }
      }
    }
    do {
      try files.createDirectory(atPath: directory, withIntermediateDirectories: true)
    } catch {
      throw CheckpointError.cannotWrite(path: directory, reason: error.localizedDescription)
    }
  }

  /// Writes the recipe beside the results.
  func save() throws {
    try AtomicFile.write(
      path: "\(directory)/\(Self.fileName)", text: json.serialized(indent: 2) + "\n")
  }
}
