import Adapters
import CommandLineParsing
import Datasets
import Layers
import Models
import Tokenizers
import Training

/// `graft train --task seq2seq-lm`: an adapter, or all weights, on pairs of texts.
enum Seq2SeqTraining {
  typealias Model = EncoderDecoderForConditionalGeneration

  static func run(
    _ recipe: TrainRecipe, _ given: ParsedArguments, _ options: TrainingOptions,
    _ source: ModelSource, _ console: Console
  ) throws -> ExitCode {
    var (recipe, options) = (recipe, options)
    let arguments = recipe.arguments
    if options.packs {
      throw UsageError(
        "--packing: --task \(ModelTask.seq2seqLM.rawValue) has rows of one text each, which what is "
          + "written belongs to")
    }
    let shape = try AutoModelForSeq2SeqLM.configuration(of: source.directory)
    let tokenizer = try source.tokenizer()
    let (encoder, length, written) = try Seq2SeqData.encoder(
      arguments, tokenizer, limit: shape.maximumLength)
    options.maximumLength = length
    try recipe.settle("max-length", "\(length)")
    try recipe.settle("max-target-length", "\(written)")
    let (examples, report) = try encoder.encode(path: arguments.value(TrainOptions.data))
    let evaluation = try arguments[TrainOptions.evalData].map {
      try encoder.encode(path: $0).examples
    }
    // Before anything is computed with them.
    try source.check(examples + (evaluation ?? []), vocabularySize: shape.vocabularySize)
    let base = try AutoModelForSeq2SeqLM.fromPretrained(
      source.directory, dtype: source.dtype, device: source.device,
      quantization: source.quantization,
      blocks: TrainCommand.isFull(arguments)
        ? nil : BlockOptions.source(recipe, options, source))
    guard !TrainCommand.isFull(arguments) else {
      let writer = ModelDirectoryWriter(
        model: base, source: source.directory, dtype: source.dtype, format: nil)
      let model = try FullFineTuning(base, seed: options.seed) { try writer.writeFiles(to: $0) }
      return try TrainCommand.carryOut(
        TrainCommand.Run(
          model: model, examples: examples, evaluation: evaluation ?? [], report: report,
          options: options, recipe: recipe), given, console)
    }
    let model = try BlockOptions.holding(base.residency, recipe, tokenizer, given) {
      let continued = try TrainCommand.continued(base, recipe, given, options.seed)
      let model =
        try continued
        ?? PeftModel(base, AdapterOptions.configuration(arguments, tokenizer), seed: options.seed)
      for warning in model.warnings { console.log("warning: \(warning)") }
      try PromptChecks.checkTasks(examples + (evaluation ?? []), model)
      try PromptChecks.check(examples + (evaluation ?? []), base, limit: shape.maximumLength)
      if continued == nil {
        if let text = arguments[TrainOptions.promptText],
          model.configurations.first?.configuration is PrefixTuningConfig
        {
          try model.beginPrompt(asPrefixOf: tokenizer.encode(text))
        }
        try TrainCommand.start(model, source, arguments, options, examples) {
          try AutoModelForSeq2SeqLM.fromPretrained(source.directory, dtype: nil)
        }
      }
      return model
    }
    if !recipe.isResumed, let configuration = model.configurations.first?.configuration {
      try TrainCommand.settle(&recipe, configuration)
    }
    return try TrainCommand.carryOut(
      TrainCommand.Run(
        model: model, examples: examples, evaluation: evaluation ?? [], report: report,
        options: options, recipe: recipe), given, console)
  }
}

extension ModelSource {
  /// Whether the model reads one text and writes another, whatever its checkpoint has a head for.
  var isSeq2Seq: Bool {
    get throws { try AutoModelForSeq2SeqLM.isKind(of: directory) }
  }
}
