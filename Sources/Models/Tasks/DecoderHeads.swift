import Layers

/// Heads of tasks on decoders, where transformers has classes for them.
enum DecoderHeads {
  /// Decoders whose tokens can be classified.
  private static let tokens: Set = [
    "llama", "mistral", "ministral3", "qwen2", "qwen3", "gemma", "gemma2", "phi", "phi3", "smollm3",
    "gpt2",
  ]
  /// Decoders that find answers, with what the decoder is called there.
  private static let answers = [
    "llama": "transformer", "qwen2": "transformer", "qwen3": "transformer",
    "smollm3": "transformer", "mistral": "model", "ministral3": "model", "gpt2": "transformer",
  ]

  /// Values of `model_type` that have a head of a task.
  static func modelTypes(for task: ModelTask) -> [String] {
    switch task {
    case .causalLM, .sequenceClassification, .featureExtraction: AutoModelForCausalLM.modelTypes
    case .tokenClassification: tokens.sorted()
    case .questionAnswering: answers.keys.sorted()
    case .maskedLM, .seq2seqLM: []
    }
  }

  /// What the decoder is called in a model with the head of a task.
  static func baseName(_ task: ModelTask, _ configuration: DecoderConfiguration) -> String {
    task == .questionAnswering
      ? answers[configuration.modelType] ?? configuration.names.decoder
      : configuration.names.decoder
  }

  /// All names that a decoder has in checkpoints.
  static func baseNames(_ configuration: DecoderConfiguration) -> [String] {
    let own = configuration.names.decoder
    let other = answers[configuration.modelType] ?? own
    return own == other ? [own] : [own, other]
  }

  /// The head of a task and whether it has a bias; nil for none.
  static func head(
    _ task: ModelTask, _ configuration: DecoderConfiguration
  ) -> (names: HeadNames, hasBias: Bool)? {
    switch task {
    case .sequenceClassification: (HeadNames(output: "score"), false)
    case .tokenClassification:
      configuration.modelType == "gpt2"
        ? (HeadNames(output: "classifier"), true)
        : (HeadNames(output: "score"), configuration.hasTokenHeadBias)
    case .questionAnswering: (HeadNames(output: "qa_outputs"), true)
    case .causalLM, .seq2seqLM, .maskedLM, .featureExtraction: nil
    }
  }
}
