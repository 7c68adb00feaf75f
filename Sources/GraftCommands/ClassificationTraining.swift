import Adapters
import CommandLineParsing
import Datasets
import Layers
import Models
import Tokenizers
import Training

/// `graft train --task sequence-classification`: an adapter and a head on labelled texts.
enum ClassificationTraining {
  static func run(
    _ recipe: TrainRecipe, _ given: ParsedArguments, _ options: TrainingOptions,
    _ source: ModelSource, _ console: Console
  ) throws -> ExitCode {
    var (recipe, options) = (recipe, options)
    let arguments = recipe.arguments
    try checkChoices(arguments, options)
    let path = try arguments.value(TrainOptions.data)
    let records = try read(path)
    let labels = try labels(records, path, recipe, source)
    let base = try AutoModel.fromPretrained(
      source.directory, task: .sequenceClassification, labels: labels, dtype: source.dtype,
      device: source.device, quantization: source.quantization, seed: options.seed)

    options.maximumLength = try DataOptions.maximumLength(arguments, limit: base.maximumLength)
    try recipe.settle("max-length", "\(options.maximumLength)")
    let tokenizer = try source.tokenizer()
    let encoder = try ClassificationEncoder(
      tokenizer: tokenizer, maximumLength: options.maximumLength,
      targets: ClassificationData.targets(labels), segmentCount: base.tokenTypeCount)
    let (examples, report) = try encoder.encode(records, file: path)
    let evaluation = try arguments[TrainOptions.evalData].map {
      try encoder.encode(try read($0), file: $0).examples
    }
    try source.check(examples + (evaluation ?? []), vocabularySize: base.vocabularySize)

    let continued = try TrainCommand.continued(base, recipe, given, options.seed)
    let model =
      try continued
      ?? PeftModel(base, AdapterOptions.configuration(arguments, tokenizer), seed: options.seed)
    for warning in model.warnings { console.log("warning: \(warning)") }
    if continued == nil,
      let config = model.configurations.first?.configuration as? LoRAConfig
    {
      try begin(model, config, examples, options, arguments)
    }
    if !recipe.isResumed, let configuration = model.configurations.first?.configuration {
      try TrainCommand.settle(&recipe, configuration)
    }
    return try TrainCommand.carryOut(
      TrainCommand.Run(
        model: model, examples: examples, evaluation: evaluation ?? [], report: report,
        options: options, recipe: recipe), given, console
    ) { try LabelFile.write(labels, to: $0) }
  }

  private static func checkChoices(
    _ arguments: ParsedArguments, _ options: TrainingOptions
  ) throws {
    let name = "--task \(ModelTask.sequenceClassification.rawValue)"
    if arguments[TrainOptions.method]?.lowercased() == "full" {
      throw UsageError("--method full: \(name) trains adapters with a head; choose an adapter")
    }
    _ = try AdapterOptions.method(arguments)
    if options.packs {
      throw UsageError("--packing: \(name) asks each row as a whole; a row holds one text")
    }
    if arguments[TrainOptions.promptStyle] == .chat || arguments[TrainOptions.trainOnPrompt] {
      throw UsageError("\(name) has no prompts: --prompt-style and --train-on-prompt mean nothing")
    }
  }

  private static func read(_ path: String) throws -> [LocatedRecord] {
    var reader = try RecordReader(path: path, family: .classification)
    return try reader.readAll()
  }

  /// The head's outputs: those of the run or the adapter that goes on, of the model's own head, or of
  /// the data for a new head.
  private static func labels(
    _ records: [LocatedRecord], _ path: String, _ recipe: TrainRecipe, _ source: ModelSource
  ) throws -> ModelLabels {
    let arguments = recipe.arguments
    if recipe.isResumed, let found = try LabelFile.read(recipe.directory) { return found }
    let problem = arguments[ClassificationData.problem] ?? ClassificationData.problem(of: records)
    if let adapter = try arguments.adapterDirectory() {
      var own = try LabelFile.labels(adapter: adapter, model: source.directory)
      own.problem = own.problem ?? problem
      return own
    }
    guard try AutoModel.task(of: source.directory) == .sequenceClassification else {
      return try ClassificationData.labels(of: records, problem, path)
    }
    var own = try AutoModel.labels(of: source.directory)
    own.problem = arguments[ClassificationData.problem] ?? own.problem ?? problem
    return own
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

/// What the labels of data mean for a head.
enum ClassificationData {
  static let problem = Option<ProblemType>(
    "problem-type", default: nil, group: "Data",
    help: "What labels of --task sequence-classification are; default what the data look like.")

  /// How labels look: lists are several classes, numbers with a fraction are to be predicted.
  static func problem(of records: [LocatedRecord]) -> ProblemType {
    let labels = records.compactMap { located -> RecordLabel? in
      if case .labeled(_, _, let label) = located.record { return label }
      return nil
    }
    func isFractional(_ label: RecordLabel) -> Bool {
      if case .value = label { return true }
      return false
    }
    if labels.contains(where: { $0.singles.contains(where: isFractional) }) { return .regression }
    let hasLists = labels.contains { label in
      if case .several = label { return true }
      return false
    }
    return hasLists ? .multiLabel : .singleLabel
  }

  /// The outputs of a new head.
  static func labels(
    of records: [LocatedRecord], _ problem: ProblemType, _ path: String
  ) throws -> ModelLabels {
    switch problem {
    case .regression:
      guard let first = records.first, case .labeled(_, _, let label) = first.record else {
        throw DatasetError.emptyData(path: path)
      }
      return ModelLabels(count: max(1, label.singles.count), problem: problem)
    case .singleLabel, .multiLabel:
      let names = try LabelSet(of: records).names
      guard names.count > 1 else {
        throw DatasetError.nothingToTrain(
          file: path, reason: "all rows have one label, \(names.first ?? "none")")
      }
      return ModelLabels(names: names, problem: problem)
    }
  }

  /// What an encoder makes of labels.
  static func targets(_ labels: ModelLabels) -> ClassificationEncoder.Targets {
    switch labels.problem ?? .singleLabel {
    case .regression: .numbers(labels.names.count)
    case .singleLabel: .oneClass(LabelSet(names: labels.names))
    case .multiLabel: .severalClasses(LabelSet(names: labels.names))
    }
  }
}
