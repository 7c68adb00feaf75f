import Adapters
import CommandLineParsing
import Datasets
import Layers
import Models
import Tokenizers
import Training

/// `graft train --task`: an adapter and a head on the data of a task.
enum TaskTraining {
  static func run(
    _ kind: any HeadTask.Type, _ recipe: TrainRecipe, _ given: ParsedArguments,
    _ options: TrainingOptions, _ source: ModelSource, _ console: Console
  ) throws -> ExitCode {
    var (recipe, options) = (recipe, options)
    let arguments = recipe.arguments
    try checkChoices(kind, arguments, options)
    let path = try arguments.value(TrainOptions.data)
    let records = try kind.read(path)
    let evaluated = try arguments[TrainOptions.evalData].map { ($0, try kind.read($0)) }
    let labels = try labels(kind, records, path, recipe, source)
    let base = try AutoModel.fromPretrained(
      source.directory, task: kind.task, labels: labels, dtype: source.dtype,
      device: source.device, quantization: source.quantization, seed: options.seed,
      blocks: TrainCommand.isFull(arguments)
        ? nil : BlockOptions.source(recipe, options, source))

    options.maximumLength = try DataOptions.maximumLength(arguments, limit: base.maximumLength)
    try recipe.settle("max-length", "\(options.maximumLength)")
    let tokenizer = try source.tokenizer()
    let task = try kind.init(
      TaskSetting(
        tokenizer: tokenizer, maximumLength: options.maximumLength,
        segmentCount: base.tokenTypeCount, vocabularySize: base.vocabularySize, labels: labels,
        seed: options.seed), arguments)
    options.masking = task.masking
    let data = try task.encode(records, file: path, isEvaluated: false)
    let evaluation = try evaluated.map {
      try task.encode($0.1, file: $0.0, isEvaluated: true)
    }
    try source.check(
      data.examples + (evaluation?.examples ?? []), vocabularySize: base.vocabularySize)

    let model: any TrainableModel
    if TrainCommand.isFull(arguments) {
      let writer = ModelDirectoryWriter(
        model: base, source: source.directory, dtype: source.dtype, format: nil)
      model = try FullFineTuning(base, seed: options.seed) { try writer.writeFiles(to: $0) }
    } else {
      let adapted = try adapted(base, tokenizer, recipe, given, options, data.examples)
      for warning in adapted.warnings { console.log("warning: \(warning)") }
      if !recipe.isResumed, let configuration = adapted.configurations.first?.configuration {
        try TrainCommand.settle(&recipe, configuration)
      }
      model = adapted
    }
    try checkLength(data.examples + (evaluation?.examples ?? []), base)
    return try TrainCommand.carryOut(
      TrainCommand.Run(
        model: model, examples: data.examples, evaluation: evaluation?.examples ?? [],
        report: data.report, options: options, recipe: recipe,
        measure: evaluation.map { data in { try data.measure(base, $0, $1).all } }), given, console
    ) { directory in
      if let labels { try LabelFile.write(labels, to: directory) }
    }
  }

  private static func checkChoices(
    _ kind: any HeadTask.Type, _ arguments: ParsedArguments, _ options: TrainingOptions
  ) throws {
    let name = "--task \(kind.task.rawValue)"
    if options.packs {
      throw UsageError("--packing: with \(name) a row holds one example")
    }
    if arguments[TrainOptions.promptStyle] == .chat || arguments[TrainOptions.trainOnPrompt] {
      throw UsageError("\(name) has no prompts: --prompt-style and --train-on-prompt mean nothing")
    }
  }

  /// The head's outputs: those of the run or the adapter that goes on, of the model's own head, or of
  /// the data for a new head; nil where heads of the task have as many always.
  private static func labels(
    _ kind: any HeadTask.Type, _ records: [LocatedRecord], _ path: String, _ recipe: TrainRecipe,
    _ source: ModelSource
  ) throws -> ModelLabels? {
    let arguments = recipe.arguments
    if recipe.isResumed, let found = try LabelFile.read(recipe.directory) { return found }
    let isNew = try AutoModel.task(of: source.directory) != kind.task
    let adapter = try arguments.adapterDirectory()
    guard isNew || adapter != nil else {
      let own = try AutoModel.labels(of: source.directory)
      return kind.hasLabels ? kind.completed(own, records, arguments) : nil
    }
    guard let adapter else { return try kind.newLabels(of: records, arguments, path) }
    let own = try LabelFile.labels(adapter: adapter, model: source.directory)
    return kind.hasLabels ? kind.completed(own, records, arguments) : nil
  }

  /// The adapter of the newest checkpoint, the one to go on with, or a new one.
  private static func adapted(
    _ base: TaskModel, _ tokenizer: Tokenizer, _ recipe: TrainRecipe, _ given: ParsedArguments,
    _ options: TrainingOptions, _ examples: [TokenizedExample]
  ) throws -> PeftModel<TaskModel> {
    try BlockOptions.holding(base.residency, recipe, tokenizer, given) {
      if let model = try TrainCommand.continued(base, recipe, given, options.seed) { return model }
      let arguments = recipe.arguments
      let model = try PeftModel(
        base, AdapterOptions.configuration(arguments, tokenizer), seed: options.seed)
      try AdapterOptions.begin(model, arguments, tokenizer)
      if let config = model.configurations.first?.configuration as? LoRAConfig {
        try begin(model, config, examples, options, arguments)
      }
      return model
    }
  }

  /// Checks that rows fit behind the model's virtual tokens.
  private static func checkLength(_ examples: [TokenizedExample], _ model: TaskModel) throws {
    let longest = examples.lazy.map(\.ids.count).max() ?? 0
    guard longest <= model.rowLimit else {
      throw UsageError(
        "rows of \(longest) tokens and \(model.prompt?.length ?? 0) virtual ones are more than the "
          + "model's limit of \(model.maximumLength); set --max-length to at most \(model.rowLimit)"
      )
    }
  }

  /// Finds the start of a new LoRA that depends on data.
  private static func begin(
    _ model: PeftModel<TaskModel>, _ config: LoRAConfig, _ examples: [TokenizedExample],
    _ options: TrainingOptions, _ arguments: ParsedArguments
  ) throws {
    if config.initialization == .loftq {
      throw UsageError("init_lora_weights loftq: expected another start for a model with a head")
    }
    try TrainCommand.calibrateIfNeeded(model, config, examples, options, arguments)
  }
}
