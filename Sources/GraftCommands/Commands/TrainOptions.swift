import Adapters
import CommandLineParsing
import Datasets
import Optimizers
import Tensors
import Training

/// Where a run's curves go.
enum ReportTarget: String, CaseIterable, OptionValue {
  case none
  case tensorboard
}

/// Whether something is applied.
enum Switch: String, CaseIterable, OptionValue {
  case on
  case off
}

/// What `--compute-dtype` takes.
enum ComputeType: String, CaseIterable, OptionValue {
  case float32
  case bfloat16
  case int8

  var dtype: DType {
    switch self {
    case .float32: .float32
    case .bfloat16: .bfloat16
    case .int8: .int8
    }
  }
}

/// Where frozen blocks of the base are while no pass is at them.
enum BaseOffload: String, CaseIterable, OptionValue {
  case none
  case disk
}

/// Options of `graft train`.
enum TrainOptions {
  static let task = TaskOptions.task
  static let data = Option<String>("data", default: nil, group: "Data", help: "JSONL file.")
  static let evalData = Option<String>(
    "eval-data", default: nil, group: "Data", help: "JSONL file to evaluate on.")
  static let promptStyle = Option<ExampleEncoder.PromptStyle>(
    "prompt-style", default: .plain, group: "Data", help: "How prompts become text.")
  static let chatTemplate = Option<String>(
    "chat-template", default: nil, group: "Data",
    help: "File with a chat template to use instead of the model's, such as its own one with "
      + "{% generation %} blocks.")
  static let chatTemplateName = Option<String>(
    "chat-template-name", default: nil, group: "Data",
    help: "The one of the model's named chat templates to use; default is default, or tool_use for "
      + "conversations with tools.")
  static let trainOnPrompt = Flag(
    "train-on-prompt", group: "Data", help: "Count prompts in the loss too.")
  static let maximumLength = Option<Int>(
    "max-length", default: nil, group: "Data",
    help: "Most tokens of a row; default 1024, or the model's limit if that is lower.")
  static let packing = Flag("packing", group: "Data", help: "Put several examples into a row.")
  static let shuffle = Flag(
    "shuffle", default: true, group: "Data", help: "Change the order from epoch to epoch.")
  static let groupByLength = Flag(
    "group-by-length", default: true, group: "Data",
    help: "Put rows of similar length into a batch.")

  static let output = Option<String>(
    "output", default: nil, group: "Run", help: "The run's directory.")
  static let overwrite = Flag(
    "overwrite", group: "Run", help: "Replace another run's files in --output.")
  static let resume = Option<String>(
    "resume", default: nil, group: "Run", help: "Go on from the newest checkpoint of a run.",
    optionalValue: "")
  static let config = Option<String>(
    "config", default: nil, group: "Run", help: "Recipe, YAML or JSON.")
  static let deepSpeed = Option<String>(
    "deepspeed", default: nil, group: "Run",
    help: "DeepSpeed's JSON file: batches, optimiser, schedule, types and what processes share out."
  )
  static let accelerateConfig = Option<String>(
    "accelerate-config", default: nil, group: "Run",
    help: "Accelerate's YAML file, as accelerate config writes it.")
  static let set = Option<String>(
    "set", default: nil, group: "Run", help: "key=value, as in a recipe.", isRepeated: true)
  static let printRecipe = Flag(
    "print-recipe", group: "Run", help: "Print every option as it would be used, and stop.")
  static let saveEvery = Option<Int>(
    "save-every", default: nil, group: "Run", help: "Steps between checkpoints; default an epoch.")
  static let evalEvery = Option<Int>(
    "eval-every", default: nil, group: "Run", help: "Steps between evaluations; default an epoch.")
  static let logEvery = Option<Int>(
    "log-every", default: 10, group: "Run", help: "Steps between logged rows.")
  static let keep = Option<Int>("keep", default: 2, group: "Run", help: "Checkpoints to keep.")
  static let reportTo = Option<ReportTarget>(
    "report-to", default: ReportTarget.none, group: "Run",
    help: "Where curves go besides metrics.jsonl.")
  static let deterministic = Option<Int>(
    "deterministic", default: nil, group: "Run",
    help:
      "Cut each micro-batch into so many parts, 4 if no number is said, and add up their gradients in "
      + "order: up to so many processes times --gradient-accumulation give the same numbers to the last "
      + "bit.", optionalValue: 4)
  static let zero = Option<Int>(
    "zero", default: 0, group: "Run",
    help:
      "What several processes share out (ZeRO): 1 the optimiser's state, 2 gradients too, 3 what is "
      + "trained and the frozen base too.")
  static let baseOffload = Option<BaseOffload>(
    "base-offload", default: BaseOffload.none, group: "Run",
    help:
      "disk: frozen blocks of the base stay in files but for the one at work and the next, so that the "
      + "base may be larger than the memory; what is in no file is put beside --output. With --zero 3 "
      + "each process's share of the base lies there.")
  static let profile = Option<Int>(
    "profile", default: nil, group: "Run",
    help:
      "Show where the time and memory of one step go, by layer and kernel, and write a trace for "
      + "Perfetto; which step from the start or the resumption, the third if not said.",
    optionalValue: 3)
  static let quiet = Flag("quiet", group: "Run", help: "No progress.")
  static let json = Flag("json", group: "Run", help: "Print one JSON object at the end.")

  static let method = Option<String>(
    "method", default: "lora", group: "Adapter",
    help: "The adapter's method, or full for all weights of the model.")
  static let adapterConfig = Option<String>(
    "adapter-config", default: nil, group: "Adapter", help: "PEFT's adapter_config.json.")
  static let rank = Option<Int>("rank", default: 8, group: "Adapter", help: "Rank.")
  static let alpha = Option<Double>(
    "alpha", default: 16, group: "Adapter", help: "Scale times rank.")
  static let dropout = Option<Double>(
    "dropout", default: 0, group: "Adapter", help: "Share of dropped inputs.")
  static let baseDropout = Option<Switch>(
    "base-dropout", default: .on, group: "Adapter",
    help: "Whether dropout that the model's config.json asks for is applied in training.")
  static let targetModules = Option<String>(
    "target-modules", default: "all-linear", group: "Adapter",
    help: "all-linear, names with commas, or an expression.")
  static let modulesToSave = Option<String>(
    "modules-to-save", default: nil, group: "Adapter", help: "Modules to train whole, with commas.")
  static let bias = Option<BiasTraining>(
    "bias", default: BiasTraining.none, group: "Adapter", help: "Biases to train.")
  static let rsLoRA = Flag("rslora", group: "Adapter", help: "Scale by the root of the rank.")
  static let virtualTokens = Option<Int>(
    "virtual-tokens", default: nil, group: "Adapter",
    help: "Virtual tokens before every row; default those of --prompt-text.")
  static let promptText = Option<String>(
    "prompt-text", default: nil, group: "Adapter", help: "Text that virtual tokens begin with.")
  static let initialization = Option<String>(
    "init-lora-weights", default: nil, group: "Adapter",
    help: "How A and B start, as PEFT spells it: true, false, gaussian, orthogonal, pissa, "
      + "pissa_niter_N, olora, mica, eva, corda, lora_ga or loftq; or milora or eigen.")
  static let adapterFields = Option<String>(
    "adapter-fields", default: nil, group: "Adapter",
    help: "Any fields of adapter_config.json, as a JSON object.")
  static let calibrationBatches = Option<Int>(
    "calibration-batches", default: 16, group: "Adapter",
    help: "Batches of data from which eva, corda and lora_ga start.")
  static let plainLoRA = Flag(
    "plain-lora", group: "Adapter",
    help: "Write a LoRA that started as a part of W (pissa, olora) as one of twice the rank.")

  static let learningRate = Option<Double>(
    "learning-rate", default: 2e-4, group: "Optimiser", help: "Base learning rate.")
  static let weightDecay = Option<Double>(
    "weight-decay", default: 0, group: "Optimiser", help: "Weight decay.")
  static let optimizer = Option<String>(
    "optimizer", default: "adamw", group: "Optimiser",
    help: "\(optimizerNames).")
  static let beta1 = Option<Double>(
    "beta1", default: nil, group: "Optimiser",
    help: "Decay of the mean gradient, momentum of sgd and lars; default the optimiser's.")
  static let beta2 = Option<Double>(
    "beta2", default: nil, group: "Optimiser",
    help: "Decay of the mean squared gradient, of lion's mean; default the optimiser's.")
  static let epsilon = Option<Double>(
    "epsilon", default: nil, group: "Optimiser",
    help: "Added to the root of the mean squared gradient; default the optimiser's.")
  static let warmupSteps = Option<Int>(
    "warmup-steps", default: nil, group: "Optimiser", help: "Steps over which it rises.")
  static let warmupRatio = Option<Double>(
    "warmup-ratio", default: 0, group: "Optimiser", help: "The same as a share of the run.")
  static let maximumNorm = Option<Double>(
    "max-gradient-norm", default: 1, group: "Optimiser", help: "Clip gradients; 0 does not.")
  static let batchSize = Option<Int>(
    "batch-size", default: 4, group: "Optimiser", help: "Rows of a micro-batch.")
  static let accumulation = Option<Int>(
    "gradient-accumulation", default: 1, group: "Optimiser", help: "Micro-batches of an update.")
  static let epochs = Option<Double>(
    "epochs", default: 3, group: "Optimiser", help: "Passes over the data.")
  static let maximumSteps = Option<Int>(
    "max-steps", default: nil, group: "Optimiser", help: "Updates of the run, instead of epochs.")
  static let seed = Option<Int>(
    "seed", default: 42, group: "Optimiser", help: "Start of all random numbers.")
  static let activationCheckpointing = Flag(
    "activation-checkpointing", group: "Optimiser",
    help: "Compute activations again in the backward pass: less memory, more time.")
  static let fusedLayers = Flag(
    "fused-layers", default: true, group: "Optimiser",
    help: "Compute layers of a block together where that can be: less time and memory.")
  static let int8Backward = Option<Switch>(
    "int8-backward", default: .on, group: "Optimiser",
    help:
      "With a quantised base: gradients pass its layers in whole numbers of 8 bits, which takes "
      + "less time; off: in float32.")
  static let computeType = Option<ComputeType>(
    "compute-dtype", default: .int8, group: "Optimiser",
    help:
      "Where the processor multiplies it: with a quantised base the type of products with 4-bit "
      + "layers, their head, and of attention, otherwise of the many small shares in the head's "
      + "gradient; sums are float32. int8: 4-bit layers and head in whole numbers but for the "
      + "largest activations, the rest in bfloat16.")

  static let all: [any OptionDeclaration] =
    [
      task, TaskOptions.problem, data, evalData, promptStyle, chatTemplate, chatTemplateName,
      trainOnPrompt, maximumLength, Seq2SeqData.maximumTargetLength, packing, shuffle,
      groupByLength,
      output, overwrite, resume, config, deepSpeed, accelerateConfig, set, printRecipe, saveEvery,
      evalEvery, logEvery, keep,
      ShardOptions.maximumShardSize, reportTo, deterministic, zero, baseOffload, profile, quiet,
      json,
    ] + HeadTasks.options + [
      method, adapterConfig, rank, alpha, dropout, baseDropout, targetModules, modulesToSave, bias,
      rsLoRA,
      virtualTokens, promptText, initialization, adapterFields, plainLoRA, calibrationBatches,
    ] + [
      optimizer, learningRate, weightDecay, beta1, beta2, epsilon, ScheduleOptions.schedule,
      ScheduleOptions.fields, LossScaleOptions.lossScale, warmupSteps, warmupRatio, maximumNorm,
      batchSize, accumulation, epochs, maximumSteps, seed, activationCheckpointing, fusedLayers,
      int8Backward, computeType,
    ]

  static func training(_ arguments: ParsedArguments) throws -> TrainingOptions {
    var options = TrainingOptions()
    options.batchSize = try arguments.value(batchSize)
    options.gradientAccumulation = try arguments.value(accumulation)
    options.epochs = try arguments.value(epochs)
    options.maximumSteps = arguments[maximumSteps]
    options.learningRate = try arguments.value(learningRate)
    options.optimizer = try optimizerKind(arguments)
    options.optimizerSettings.weightDecay = try arguments.value(weightDecay)
    options.optimizerSettings.beta1 = arguments[beta1]
    options.optimizerSettings.beta2 = arguments[beta2]
    options.optimizerSettings.epsilon = arguments[epsilon]
    try ScheduleOptions.settle(&options, arguments)
    options.lossScaling = try LossScaleOptions.scaling(arguments)
    options.warmupSteps = arguments[warmupSteps]
    options.warmupRatio = try arguments.value(warmupRatio)
    let norm = try arguments.value(maximumNorm)
    options.maximumGradientNorm = norm == 0 ? nil : norm
    options.packs = arguments[packing]
    options.maximumLength = arguments[maximumLength] ?? options.maximumLength
    options.groupsByLength = arguments[groupByLength]
    options.shuffles = arguments[shuffle]
    options.seed = UInt64(bitPattern: Int64(try arguments.value(seed)))
    options.checkpointsActivations = arguments[activationCheckpointing]
    options.usesFusedLayers = arguments[fusedLayers]
    options.orderedParts = arguments[deterministic]
    options.zeroStage = try arguments.value(zero)
    options.logEvery = try arguments.value(logEvery)
    options.evaluateEvery = arguments[evalEvery]
    options.saveEvery = arguments[saveEvery]
    options.keptCheckpoints = try arguments.value(keep)
    options.savesPlainLoRA = arguments[plainLoRA] ? true : nil
    options.profiledUpdate = arguments[profile]
    try options.validate()
    return options
  }

  /// The rules, and what their names are made of.
  private static let optimizerNames =
    UpdateRule.allCases.map(\.rawValue).joined(separator: ", ")
    + "; each also with -8bit behind it (state in 8 bits) and paged- before it (state in a file)"

  private static func optimizerKind(_ arguments: ParsedArguments) throws -> OptimizerKind {
    let name = try arguments.value(optimizer)
    guard let kind = OptimizerKind(name) else {
      let nearest = nearestName(name, among: OptimizerKind.names).map { "; did you mean \($0)?" }
      throw UsageError("--optimizer \(name) is not known; known: \(optimizerNames)\(nearest ?? "")")
    }
    let rule = kind.rule
    for (option, isUsed) in [
      (beta1, rule.usesBeta1), (beta2, rule.usesBeta2), (epsilon, rule.divides),
    ] where arguments[option] != nil && !isUsed {
      throw UsageError("--\(option.name): --optimizer \(name) has no such setting")
    }
    return kind
  }
}
