public import JSONValues
import Layers

extension TaskModel: StoredModel {
  /// A head over the vocabulary has its bias under a name of its own in some families, and where its
  /// weight is not the embeddings' also under that of the layer.
  ///
  /// - Parameter path: A parameter's path in the model.
  /// - Returns: At least one name.
  public func namesInFiles(_ path: String) -> [String] {
    guard task == .maskedLM, let names = headNames, let bias = names.outputBias,
      path == names.output + ".bias"
    else { return [path] }
    return tiedHeadPath == nil ? [bias, path] : [bias]
  }

  /// The weight of a head over the vocabulary that is, or equals, the embeddings', and tables of stacks
  /// that are the shared one.
  public var copiedWeightPaths: Set<String> {
    let tables = backbone is EncoderDecoderModel ? copiesOfSharedTable : []
    return tables.union(tiedHeadPath.map { [$0] } ?? [])
  }

  private var tiedHeadPath: String? {
    guard task == .maskedLM, let names = headNames, let head,
      let encoder = backbone as? EncoderModel, encoder.configuration.tiesEmbeddings,
      head.output.isTable(of: encoder.embeddings.tokens)
    else { return nil }
    return names.output + ".weight"
  }

  /// Says the class of transformers and the classes of the head.
  ///
  /// - Parameter configuration: The content of `config.json`.
  public func describe(_ configuration: inout JSONObject) {
    if let name = task.architecture(modelType: modelType) {
      configuration["architectures"] = .array([.string(name)])
    }
    switch task {
    case .sequenceClassification, .tokenClassification:
      guard let labels else { return }
      configuration["num_labels"] = Optional.none
      configuration["id2label"] = .object(
        JSONObject(labels.names.enumerated().map { ("\($0.offset)", .string($0.element)) }))
      configuration["label2id"] = .object(
        JSONObject(labels.names.enumerated().map { ($0.element, .integer($0.offset)) }))
      configuration["problem_type"] =
        task == .sequenceClassification
        ? labels.problem.map { .string($0.rawValue) } : Optional.none
    case .questionAnswering:
      // Classes of another head would be taken for the number of outputs.
      for key in ["num_labels", "id2label", "label2id", "problem_type"] {
        configuration[key] = Optional.none
      }
    case .maskedLM:
      let ties = (backbone as? EncoderModel)?.configuration.tiesEmbeddings ?? false
      if ties, tiedHeadPath == nil { configuration["tie_word_embeddings"] = false }
    case .causalLM, .seq2seqLM, .featureExtraction: break
    }
  }
}

extension ModelTask {
  /// The class of transformers for a task.
  ///
  /// - Parameter modelType: `model_type` of `config.json`.
  /// - Returns: Its name; nil for a model type that is not known.
  func architecture(modelType: String) -> String? {
    Self.classNames[modelType].map { $0 + ending }
  }

  private var ending: String {
    switch self {
    case .causalLM: "ForCausalLM"
    case .seq2seqLM: "ForConditionalGeneration"
    case .maskedLM: "ForMaskedLM"
    case .sequenceClassification: "ForSequenceClassification"
    case .tokenClassification: "ForTokenClassification"
    case .questionAnswering: "ForQuestionAnswering"
    case .featureExtraction: "Model"
    }
  }

  /// How names of classes begin, by `model_type`.
  private static let classNames = [
    "bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta", "distilbert": "DistilBert",
    "modernbert": "ModernBert", "llama": "Llama", "mistral": "Mistral", "ministral3": "Ministral3",
    "qwen2": "Qwen2", "qwen3": "Qwen3", "gemma": "Gemma", "gemma2": "Gemma2",
    "gemma3_text": "Gemma3Text", "phi": "Phi", "phi3": "Phi3", "granite": "Granite",
    "olmo2": "Olmo2", "smollm3": "SmolLM3", "gpt2": "GPT2", "t5": "T5", "mt5": "MT5",
    "bart": "Bart",
  ]
}
