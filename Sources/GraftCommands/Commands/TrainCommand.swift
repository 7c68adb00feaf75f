import Adapters
import Checkpoints
import CommandLineParsing
import Datasets
import Foundation
import JSONValues
import Models
import Tensors
import Tokenizers
import Training

/// `graft train`.
enum TrainCommand: Verb {
  static let specification = CommandSpecification(
    name: "train", summary: "Fine-tune a model with an adapter",
    options: [ModelOptions.model, ModelOptions.adapter] + TrainOptions.all + [
      ModelOptions.precision, ModelOptions.device, ModelOptions.threads,
    ])

  static func run(_ given: ParsedArguments, _ console: Console) throws -> ExitCode {
    let arguments = try resolved(given)
    if arguments[TrainOptions.printRecipe] {
      console.write(recipe(arguments).serialized(indent: 2) + "\n")
      return .done
    }
    try checkChoices(arguments)
    let options = try TrainOptions.training(arguments)
    let (directory, resuming) = try runDirectory(arguments)
    let source = try ModelSource(arguments)
    let shape = try AutoModelForCausalLM.configuration(of: source.directory)
    guard options.maximumLength <= shape.maximumLength else {
      throw ModelError.input(
        "--max-length \(options.maximumLength) is more than the model's limit of "
          + "\(shape.maximumLength) tokens")
    }
    let tokenizer = try source.tokenizer()
    let encoder = try ExampleEncoder(
      tokenizer: tokenizer, maximumLength: options.maximumLength,
      trainsOnPrompt: arguments[TrainOptions.trainOnPrompt],
      promptStyle: try arguments.value(TrainOptions.promptStyle))
    let (examples, report) = try encoded(try arguments.value(TrainOptions.data), encoder)
    let evaluation = try arguments[TrainOptions.evalData].map { try encoded($0, encoder).0 } ?? []
    let peft = try adapted(source, arguments, options.seed)

    try FileManager.default.makeDirectory(directory)
    let trainer = try Trainer(
      model: peft, examples: examples, evaluation: evaluation, options: options,
      directory: directory, recipe: recipe(arguments))
    try AtomicFile.write(
      path: directory + "/recipe.json", text: recipe(arguments).serialized(indent: 2) + "\n")
    let progress = TrainingProgress(console, isQuiet: arguments[TrainOptions.quiet])
    progress.begin(report, peft, trainer.totalSteps)
    trainer.onStep = progress.step
    trainer.onEvaluation = progress.evaluation
    StopSignal.catchSignals()
    trainer.shouldStop = { StopSignal.wasCaught }
    switch try trainer.run(resuming: resuming) {
    case .stopped(let step):
      console.log("stopped after step \(step); go on with --resume")
      return .stoppedWithCheckpoint
    case .finished(let steps, let loss):
      progress.end()
      if arguments[TrainOptions.json] {
        console.write([
          "output": .string(directory), "steps": .integer(steps), "loss": .number(loss),
          "peak_memory_bytes": .integer(PeakMemory.bytes),
        ])
      } else {
        console.write("\(directory): \(steps) steps, loss \(loss.fixed(4))\n")
      }
      return .done
    }
  }

  /// The command line over --set over the recipe over the defaults.
  private static func resolved(_ given: ParsedArguments) throws -> ParsedArguments {
    var arguments = given
    var pairs: [(name: String, value: String)] = []
    for setting in given.values(TrainOptions.set) {
      guard let equals = setting.firstIndex(of: "=") else {
        throw UsageError("--set \(setting): expected key=value")
      }
      pairs.append((String(setting[..<equals]), String(setting[setting.index(after: equals)...])))
    }
    if let path = given[TrainOptions.config] {
      let set = Set(pairs.map(\.name))
      try arguments.merge(
        try RecipeFile.read(path).filter { !set.contains($0.name) }, source: path)
    }
    try arguments.merge(pairs, source: "--set")
    return arguments
  }

  private static func recipe(_ arguments: ParsedArguments) -> JSON {
    let transient: Set = ["config", "set", "resume", "print-recipe", "overwrite", "quiet", "json"]
    return .object(
      JSONObject(
        arguments.resolved().filter { !transient.contains($0.name) }.map {
          ($0.name, $0.value.map(JSON.string) ?? nil)
        }))
  }

  private static func checkChoices(_ arguments: ParsedArguments) throws {
    let choices = [
      ("method", try arguments.value(TrainOptions.method).lowercased(), ["lora"]),
      ("optimizer", try arguments.value(TrainOptions.optimizer), ["adamw"]),
    ]
    for (name, value, known) in choices where !known.contains(value) {
      throw UsageError("--\(name) \(value) is not known; known: \(known.joined(separator: ", "))")
    }
  }

  /// The run's directory, checked not to hold another run unless that is wanted.
  private static func runDirectory(_ arguments: ParsedArguments) throws -> (String, Bool) {
    if let run = arguments[TrainOptions.resume] {
      let directory = run.isEmpty ? try arguments.value(TrainOptions.output) : run
      return (directory, true)
    }
    let directory = try arguments.value(TrainOptions.output)
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    let ours: Set = ["metrics.jsonl", "checkpoints", "adapter_model.safetensors", "recipe.json"]
    let found = names.filter(ours.contains)
    guard !found.isEmpty else { return (directory, false) }
    guard arguments[TrainOptions.overwrite] else {
      throw TrainingError.outputExists(path: directory)
    }
    for name in found { try FileManager.default.removeItem(atPath: "\(directory)/\(name)") }
    return (directory, false)
  }

  private static func encoded(
    _ path: String, _ encoder: ExampleEncoder
  ) throws -> ([TokenizedExample], EncodingReport) {
    var reader = try RecordReader(path: path)
    return try encoder.encode(try reader.readAll(), file: path)
  }

  private static func adapted(
    _ source: ModelSource, _ arguments: ParsedArguments, _ seed: UInt64
  ) throws -> PeftModel {
    let base = try source.model()
    if let path = arguments[ModelOptions.adapter] {
      return try PeftModel.fromPretrained(base, path, trainable: true, seed: seed)
    }
    return try PeftModel(base, try configuration(arguments), seed: seed)
  }

  /// `--adapter-config` with what the command line or the recipe says over it.
  private static func configuration(_ arguments: ParsedArguments) throws -> LoRAConfig {
    var config = LoRAConfig()
    let path = arguments[TrainOptions.adapterConfig]
    if let path { config = try LoRAConfig(json: try JSON.read(path: path), path: path) }
    func decides(_ name: String) -> Bool { path == nil || arguments.isGiven(name) }
    if decides("rank") { config.rank = try arguments.value(TrainOptions.rank) }
    if decides("alpha") { config.alpha = try arguments.value(TrainOptions.alpha) }
    if decides("dropout") { config.dropout = try arguments.value(TrainOptions.dropout) }
    if decides("bias") { config.bias = try arguments.value(TrainOptions.bias) }
    if decides("rslora") { config.usesRankStabilization = arguments[TrainOptions.rsLoRA] }
    if decides("target-modules") {
      config.targetModules = TargetModules(try arguments.value(TrainOptions.targetModules))
    }
    if let names = arguments[TrainOptions.modulesToSave] {
      config.modulesToSave = names.split(separator: ",").map(String.init)
    }
    config.baseModel = try arguments.value(ModelOptions.model)
    try config.validate()
    return config
  }
}

extension FileManager {
  /// Makes a directory and those above it.
  func makeDirectory(_ path: String) throws(CheckpointError) {
    do {
      try createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw .cannotWrite(path: path, reason: error.localizedDescription)
    }
  }
}
