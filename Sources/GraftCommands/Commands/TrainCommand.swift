import Adapters
import Checkpoints
import CommandLineParsing
import Datasets
import JSONValues
import Models
import Tokenizers
import Training

/// `graft train`.
enum TrainCommand: Verb {
  static let specification = CommandSpecification(
    name: "train", summary: "Fine-tune a model with an adapter",
    options: [ModelOptions.model, ModelOptions.adapter] + TrainOptions.all + ModelOptions.opening)

  static func run(_ given: ParsedArguments, _ console: Console) throws -> ExitCode {
    StopSignal.catchSignals()
    var recipe = try TrainRecipe(given)
    if given[TrainOptions.printRecipe] {
      console.write(recipe.json.serialized(indent: 2) + "\n")
      return .done
    }
    try checkChoices(recipe.arguments)
    var options = try TrainOptions.training(recipe.arguments)
    let isQuiet = given[TrainOptions.quiet]
    for change in recipe.changes where !isQuiet {
      console.log("changed since the start: \(change)")
    }

    let source = try ModelSource(recipe.arguments)
    options.maximumLength = try maximumLength(recipe.arguments, source)
    try recipe.settle("max-length", "\(options.maximumLength)")
    let encoder = try ExampleEncoder(
      tokenizer: try source.tokenizer(), maximumLength: options.maximumLength,
      trainsOnPrompt: recipe.arguments[TrainOptions.trainOnPrompt],
      promptStyle: try recipe.arguments.value(TrainOptions.promptStyle))
    let (examples, report) = try encoder.encode(path: recipe.arguments.value(TrainOptions.data))
    let evaluation =
      try recipe.arguments[TrainOptions.evalData].map { try encoder.encode(path: $0).examples }
    let model = try adapted(source, recipe, given, options.seed)
    try source.check(examples + (evaluation ?? []), model.base.configuration)
    if !recipe.isResumed { try settle(&recipe, model) }

    try recipe.prepareDirectory()
    let trainer = try Trainer(
      model: model, examples: examples, evaluation: evaluation ?? [], options: options,
      directory: recipe.directory, recipe: recipe.json)
    let progress = TrainingProgress(totalSteps: trainer.totalSteps, isQuiet: isQuiet)
    progress.begin(report, model, trainer)
    if recipe.arguments[TrainOptions.reportTo] == .tensorboard {
      trainer.tensorBoard = try TensorBoardLog(directory: recipe.directory)
    }
    let ready = recipe
    trainer.onStart = { step in
      try ready.save()
      progress.start(step, isResumed: ready.isResumed)
    }
    trainer.onStep = progress.step
    trainer.onEvaluation = progress.evaluation
    trainer.shouldStop = { StopSignal.wasCaught }
    StopSignal.saveWhenCaught()
    let outcome = try trainer.run(resuming: recipe.isResumed)
    progress.end()
    return finish(outcome, recipe.directory, given[TrainOptions.json], console)
  }

  private static func finish(
    _ outcome: TrainingOutcome, _ directory: String, _ asJSON: Bool, _ console: Console
  ) -> ExitCode {
    switch outcome {
    case .stopped(let step):
      if asJSON {
        console.write([
          "output": .string(directory), "steps": .integer(step), "stopped": true,
          "peak_memory_bytes": .integer(PeakMemory.bytes),
        ])
      }
      console.log("stopped after step \(step); go on with: graft train --resume \(directory)")
      return .stoppedWithCheckpoint
    case .finished(let steps, let loss):
      if asJSON {
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

  private static func checkChoices(_ arguments: ParsedArguments) throws {
    let (method, known) = (try arguments.value(TrainOptions.method).lowercased(), ["lora"])
    guard known.contains(method) else {
      throw UsageError("--method \(method) is not known; known: \(known.joined(separator: ", "))")
    }
  }

  /// What was asked for, else 1024, and never more than the model can take.
  private static func maximumLength(
    _ arguments: ParsedArguments, _ source: ModelSource
  ) throws -> Int {
    let limit = try AutoModelForCausalLM.configuration(of: source.directory).maximumLength
    let wanted = arguments[TrainOptions.maximumLength] ?? min(1024, limit)
    guard wanted <= limit else {
      throw UsageError("--max-length \(wanted) is more than the model's limit of \(limit) tokens")
    }
    return wanted
  }

  /// The adapter of the newest checkpoint, the one to go on with, or a new one.
  private static func adapted(
    _ source: ModelSource, _ recipe: TrainRecipe, _ given: ParsedArguments, _ seed: UInt64
  ) throws -> PeftModel {
    let base = try source.model()
    if recipe.isResumed, let path = latestCheckpoint(ofRun: recipe.directory) {
      return try PeftModel.fromPretrained(base, path, trainable: true, seed: seed)
    }
    guard let path = recipe.arguments[ModelOptions.adapter] else {
      return try PeftModel(base, try configuration(recipe.arguments), seed: seed)
    }
    let model = try PeftModel.fromPretrained(
      base, path, trainable: true, seed: seed,
      dropout: given.isGiven("dropout") ? given[TrainOptions.dropout] : nil)
    for (_, configuration) in model.configurations {
      try checkAgreement(given, configuration, path)
    }
    return model
  }

  /// An adapter to go on with has its own shape; options that say otherwise are a mistake.
  private static func checkAgreement(
    _ given: ParsedArguments, _ configuration: LoRAConfig, _ path: String
  ) throws {
    let own = [
      ("rank", given[TrainOptions.rank] == configuration.rank, "\(configuration.rank)"),
      ("alpha", given[TrainOptions.alpha] == configuration.alpha, "\(configuration.alpha)"),
      ("bias", given[TrainOptions.bias] == configuration.bias, configuration.bias.rawValue),
      (
        "rslora", given[TrainOptions.rsLoRA] == configuration.usesRankStabilization,
        "\(configuration.usesRankStabilization)"
      ), ("adapter-config", false, "its own"),
    ]
    for (name, agrees, value) in own where given.isGiven(name) && !agrees {
      throw UsageError("--\(name): the adapter \(path) has \(value), which cannot be changed")
    }
  }

  /// Writes what an adapter's file says into the recipe, where the command line said nothing.
  private static func settle(_ recipe: inout TrainRecipe, _ model: PeftModel) throws {
    guard let configuration = model.configurations.first?.configuration,
      recipe.arguments[TrainOptions.adapterConfig] ?? recipe.arguments[ModelOptions.adapter] != nil
    else { return }
    try recipe.settle("rank", "\(configuration.rank)")
    try recipe.settle("alpha", "\(configuration.alpha)")
    try recipe.settle("dropout", "\(configuration.dropout)")
    try recipe.settle("bias", configuration.bias.rawValue)
    try recipe.settle("rslora", "\(configuration.usesRankStabilization)")
    switch configuration.targetModules {
    case .names(let names): try recipe.settle("target-modules", names.joined(separator: ","))
    case .pattern(let pattern): try recipe.settle("target-modules", pattern)
    case .allLinear, nil: break
    }
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
    if decides("target-modules"), path == nil || arguments.isGiven("target-modules") {
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
