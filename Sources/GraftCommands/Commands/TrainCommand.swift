import Adapters
import Checkpoints
import Collectives
import CommandLineParsing
import Datasets
import JSONValues
import Layers
import Models
import Quantization
import Tokenizers
import Training

/// `graft train`.
enum TrainCommand: Verb {
  static let specification = CommandSpecification(
    name: "train", summary: "Fine-tune a model with an adapter, or all of its weights",
    options: [ModelOptions.model, ModelOptions.adapter] + TrainOptions.all + ModelOptions.opening)

  static func run(_ given: ParsedArguments, _ console: Console) throws -> ExitCode {
    StopSignal.catchSignals()
    return try TrainingProcesses.share(given, console) { given, console, processes in
      try run(given, console, processes)
    }
  }

  private static func run(
    _ given: ParsedArguments, _ console: Console, _ processes: ProcessGroup?
  ) throws -> ExitCode {
    var recipe = try TrainRecipe(given, processes: processes)
    if !given[TrainOptions.quiet] { for table in recipe.fileTables { console.log(table) } }
    if given[TrainOptions.printRecipe] {
      console.write(recipe.json.serialized(indent: 2) + "\n")
      return .done
    }
    try checkChoices(recipe.arguments)
    var options = try TrainOptions.training(recipe.arguments)
    for change in recipe.changes where !given[TrainOptions.quiet] {
      console.log("changed since the start: \(change)")
    }

    let source = try ModelSource(recipe.arguments, isQuiet: given[TrainOptions.quiet])
    let task = try TaskOptions.task(
      recipe.arguments, source.directory,
      adapter: recipe.arguments.adapterDirectory(isQuiet: given[TrainOptions.quiet]))
    try recipe.settle("task", task.rawValue)
    switch task {
    case .causalLM: break
    case .seq2seqLM:
      return try Seq2SeqTraining.run(recipe, given, options, source, console)
    default:
      return try TaskTraining.run(
        try HeadTasks.named(task), recipe, given, options, source, console)
    }
    let shape = try AutoModelForCausalLM.configuration(of: source.directory)
    options.maximumLength = try DataOptions.maximumLength(
      recipe.arguments, limit: shape.maximumLength)
    try recipe.settle("max-length", "\(options.maximumLength)")
    let tokenizer = try source.tokenizer()
    let encoder = try DataOptions.encoder(
      recipe.arguments, tokenizer, maximumLength: options.maximumLength)
    let (examples, report) = try encoder.encode(path: recipe.arguments.value(TrainOptions.data))
    let evaluation =
      try recipe.arguments[TrainOptions.evalData].map { try encoder.encode(path: $0).examples }
    // Before anything is computed with them.
    try source.check(examples + (evaluation ?? []), shape)
    let model: any TrainableModel =
      isFull(recipe.arguments)
      ? try wholeModel(
        source, options.seed, shardLimit: ShardOptions.limit(recipe.arguments))
      : try adapted(source, tokenizer, recipe, given, options, examples)
    if let base = model.base as? DecoderForCausalLM {
      try PromptChecks.check(examples + (evaluation ?? []), base, options)
    }
    if let adapted = model as? PeftModel<DecoderForCausalLM> {
      for warning in adapted.warnings { console.log("warning: \(warning)") }
      try PromptChecks.checkTasks(examples + (evaluation ?? []), adapted, isPacked: options.packs)
    }
    if !recipe.isResumed,
      let configuration = (model as? PeftModel<DecoderForCausalLM>)?.configurations.first?
        .configuration
    {
      try settle(&recipe, configuration)
    }
    return try carryOut(
      Run(
        model: model, examples: examples, evaluation: evaluation ?? [], report: report,
        options: options, recipe: recipe), given, console)
  }

  /// Everything that a run needs.
  struct Run {
    let model: any TrainableModel
    let examples: [TokenizedExample]
    let evaluation: [TokenizedExample]
    let report: EncodingReport
    let options: TrainingOptions
    let recipe: TrainRecipe
    /// Measures on the evaluation data; nil for the model's own figures.
    var measure:
      ((_ batchSize: Int, _ share: EvaluationShare) throws -> [(name: String, value: Double)])?
  }

  /// Trains to the end or until it is stopped.
  ///
  /// - Parameters:
  ///   - run: Model, data and options.
  ///   - given: The command line.
  ///   - console: Where results go.
  ///   - onStart: Writes more into the run's directory before the first step.
  /// - Returns: How it ended.
  /// - Throws: What training and writing throw.
  static func carryOut(
    _ run: Run, _ given: ParsedArguments, _ console: Console,
    onStart: @escaping (_ directory: String) throws -> Void = { _ in }
  ) throws -> ExitCode {
    let (model, recipe, isQuiet) = (run.model, run.recipe, given[TrainOptions.quiet])
    let base: any LossModel = model.base
    base.ownDropout?.isAllowed = recipe.arguments[TrainOptions.baseDropout] != .off
    base.setInputGradients(
      recipe.arguments[TrainOptions.int8Backward] == .off ? .dequantized : .int8)
    base.setComputeType((recipe.arguments[TrainOptions.computeType] ?? .int8).dtype)
    // It refuses what cannot be, and only then the directory may be emptied.
    let trainer = try Trainer(
      model: model, examples: run.examples, evaluation: run.evaluation, options: run.options,
      directory: recipe.directory, recipe: recipe.json, processes: recipe.processes)
    let profile = try ProfileFiles(
      run.options, steps: trainer.totalSteps, directory: recipe.directory)
    let writes = recipe.processes?.rank ?? 0 == 0
    if writes { try recipe.prepareDirectory() }
    let progress = TrainingProgress(totalSteps: trainer.totalSteps, isQuiet: isQuiet)
    progress.begin(run.report, model, trainer)
    if writes, recipe.arguments[TrainOptions.reportTo] == .tensorboard {
      trainer.tensorBoard = try TensorBoardLog(directory: recipe.directory)
    }
    trainer.onStart = { step in
      if writes {
        try recipe.save()
        try onStart(recipe.directory)
        try recipe.processes.map(TrainingProcesses.markBegun)
      }
      progress.start(step, isResumed: recipe.isResumed)
    }
    trainer.measure = run.measure
    trainer.onStep = progress.step
    trainer.onEvaluation = progress.evaluation
    if writes { trainer.onProfile = profile.write }
    trainer.shouldStop = { StopSignal.wasCaught }
    StopSignal.saveWhenCaught()
    let outcome = try trainer.run(resuming: recipe.isResumed)
    progress.end()
    if writes { profile.show(console, asJSON: given[TrainOptions.json]) }
    return finish(
      outcome, recipe.directory, given[TrainOptions.json], console,
      (profile.json.map { [("profile", $0)] } ?? []) + ShareReport.entries(trainer.shares))
  }

  private static func finish(
    _ outcome: TrainingOutcome, _ directory: String, _ asJSON: Bool, _ console: Console,
    _ more: [(String, JSON)]
  ) -> ExitCode {
    func write(_ entries: [(String, JSON)]) {
      console.write(.object(JSONObject(entries + more)))
    }
    switch outcome {
    case .stopped(let step):
      if asJSON {
        write([
          ("output", .string(directory)), ("steps", .integer(step)), ("stopped", true),
          ("peak_memory_bytes", .integer(PeakMemory.bytes)),
        ])
      }
      console.log("stopped after step \(step); go on with: graft train --resume \(directory)")
      return .stoppedWithCheckpoint
    case .finished(let steps, let loss):
      if asJSON {
        write([
          ("output", .string(directory)), ("steps", .integer(steps)), ("loss", .number(loss)),
          ("peak_memory_bytes", .integer(PeakMemory.bytes)),
        ])
      } else {
        console.write("\(directory): \(steps) steps, loss \(loss.fixed(4))\n")
      }
      return .done
    }
  }

  private static func checkChoices(_ arguments: ParsedArguments) throws {
    guard isFull(arguments) else {
      _ = try AdapterOptions.method(arguments)
      return
    }
    try BlockOptions.refuseWithoutBase(arguments)
    // A recipe says every option; only what asks for something counts.
    let unused: [(String, Bool)] = [
      ("adapter", arguments[ModelOptions.adapter] != nil),
      ("adapter-config", arguments[TrainOptions.adapterConfig] != nil),
      ("rank", arguments[TrainOptions.rank] != 8), ("alpha", arguments[TrainOptions.alpha] != 16),
      ("dropout", arguments[TrainOptions.dropout] != 0), ("rslora", arguments[TrainOptions.rsLoRA]),
      ("target-modules", arguments[TrainOptions.targetModules] != "all-linear"),
      ("modules-to-save", arguments[TrainOptions.modulesToSave] != nil),
      ("bias", arguments[TrainOptions.bias] != BiasTraining.none),
      ("virtual-tokens", arguments[TrainOptions.virtualTokens] != nil),
      ("prompt-text", arguments[TrainOptions.promptText] != nil),
      ("init-lora-weights", arguments[TrainOptions.initialization] != nil),
      ("adapter-fields", arguments[TrainOptions.adapterFields] != nil),
      ("plain-lora", arguments[TrainOptions.plainLoRA]),
      ("calibration-batches", arguments[TrainOptions.calibrationBatches] != 16),
      ("quantize", arguments[ModelOptions.quantize] != BaseFormat.none),
    ]
    if let (name, _) = unused.first(where: \.1) {
      throw UsageError(
        "--\(name): --method full trains every weight as a number and has no such setting")
    }
  }

  /// Whether all weights are trained instead of an adapter.
  static func isFull(_ arguments: ParsedArguments) -> Bool {
    arguments[TrainOptions.method]?.lowercased() == "full"
  }

  /// The model with all weights trained, which the run's directory becomes.
  private static func wholeModel(
    _ source: ModelSource, _ seed: UInt64, shardLimit: Int
  ) throws -> FullFineTuning<DecoderForCausalLM> {
    let base = try source.model()
    let writer = ModelDirectoryWriter(
      model: base, source: source.directory, dtype: source.dtype, format: nil,
      shardLimit: shardLimit)
    return try FullFineTuning(base, seed: seed) { try writer.writeFiles(to: $0) }
  }

  /// The adapter of the newest checkpoint, the one to go on with, or a new one.
  private static func adapted(
    _ source: ModelSource, _ tokenizer: Tokenizer, _ recipe: TrainRecipe, _ given: ParsedArguments,
    _ options: TrainingOptions, _ examples: [TokenizedExample]
  ) throws -> PeftModel<DecoderForCausalLM> {
    let seed = options.seed
    let base = try source.model(blocks: BlockOptions.source(recipe, options, source))
    return try BlockOptions.holding(base.residency, recipe, tokenizer, given) {
      if let model = try continued(base, recipe, given, seed) { return model }
      let configuration = try AdapterOptions.configuration(recipe.arguments, tokenizer)
      let model = try PeftModel(base, configuration, seed: seed)
      try AdapterOptions.begin(model, recipe.arguments, tokenizer)
      try start(model, source, recipe.arguments, options, examples) {
        try AutoModelForCausalLM.fromPretrained(source.directory, dtype: nil)
      }
      return model
    }
  }

  /// The adapter of the newest checkpoint or the one to go on with; nil for a new one.
  static func continued<Base>(
    _ base: Base, _ recipe: TrainRecipe, _ given: ParsedArguments, _ seed: UInt64
  ) throws -> PeftModel<Base>? {
    if recipe.isResumed, let path = latestCheckpoint(ofRun: recipe.directory) {
      return try PeftModel.fromPretrained(base, path, trainable: true, seed: seed)
    }
    guard let name = recipe.arguments[ModelOptions.adapter] else { return nil }
    let model = try PeftModel.fromPretrained(
      base, try HubNames.adapter(name, isQuiet: given[TrainOptions.quiet]), trainable: true,
      seed: seed,
      dropout: given.isGiven("dropout") ? given[TrainOptions.dropout] : nil)
    for (_, configuration) in model.configurations {
      try AdapterOptions.checkAgreement(given, configuration, name)
    }
    return model
  }

  /// Finds the start of a new LoRA that depends on data.
  static func calibrateIfNeeded<Base: LossModel>(
    _ model: PeftModel<Base>, _ config: LoRAConfig, _ examples: [TokenizedExample],
    _ options: TrainingOptions, _ arguments: ParsedArguments
  ) throws {
    guard config.needsCalibration else { return }
    try calibrate(
      model, examples, options: options,
      batches: max(1, try arguments.value(TrainOptions.calibrationBatches)))
  }

  /// Writes what the adapter is into the recipe, where the command line said nothing.
  static func settle(
    _ recipe: inout TrainRecipe, _ configuration: any AdapterConfiguration
  ) throws {
    let isGiven =
      recipe.arguments[TrainOptions.adapterConfig] ?? recipe.arguments[ModelOptions.adapter] != nil
    if isGiven || !(configuration is LoRAConfig) {
      try AdapterOptions.settle(&recipe, configuration)
    }
  }
}

extension TrainCommand {
  /// Finds the start of a new LoRA that depends on data or on what quantising lost; `openDense` opens
  /// the base as it is stored.
  static func start<Base: LossModel>(
    _ model: PeftModel<Base>, _ source: ModelSource, _ arguments: ParsedArguments,
    _ options: TrainingOptions, _ examples: [TokenizedExample],
    dense openDense: () throws -> any Module
  ) throws {
    guard let config = model.configurations.first?.configuration as? LoRAConfig else { return }
    try calibrateIfNeeded(model, config, examples, options, arguments)
    guard config.initialization == .loftq else { return }
    guard source.quantization != nil else {
      throw UsageError("init_lora_weights loftq needs --quantize, which it makes up for")
    }
    guard config.loftQ?.iterations ?? 1 == 1 else {
      throw UsageError(
        "loftq_iter is more than 1: the adapter would fit a base that is not written; the library "
          + "can do that")
    }
    let dense = try openDense()
    try model.startLoftQ { path in
      guard let layer = dense.module(at: path) as? Linear, layer.storedCount == 0 else {
        throw UsageError("init_lora_weights loftq: \(source.directory) is quantised itself")
      }
      return layer.projection.denseWeight()
    }
  }
}
