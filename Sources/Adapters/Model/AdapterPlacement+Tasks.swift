import Models

/// What the task of a model means for an adapter on it.
extension AdapterPlacement {
  /// The configuration for the task of the model: a new adapter says the model's task and trains layers
  /// whole that began with random numbers; heads of classes and answers are always trained whole, as
  /// PEFT does by `task_type`.
  func fitted(_ configuration: any AdapterConfiguration) -> any AdapterConfiguration {
    var result = configuration
    if model is EncoderDecoderForConditionalGeneration, !isLoading {
      result.taskType = ModelTask.seq2seqLM.adapterType
    }
    guard let model = model as? TaskModel else { return result }
    if !isLoading { result.taskType = model.task.adapterType }
    guard type(of: result).fieldNames.contains("modules_to_save") else { return result }
    let heads = Self.headNames[result.taskType ?? ""] ?? []
    for name in heads where !result.modulesToSave.contains(name) {
      result.modulesToSave.append(name)
    }
    guard !isLoading else { return result }
    for path in model.newLayers
    where !TargetMatching.isInside(path, modulesEndingWith: result.modulesToSave) {
      result.modulesToSave.append(path)
    }
    return result
  }

  /// Names that heads have in PEFT, by `task_type`.
  private static let headNames = [
    "SEQ_CLS": ["classifier", "score"], "TOKEN_CLS": ["classifier", "score"],
    "QUESTION_ANS": ["qa_outputs"],
  ]

  /// Whether a name of `modules_to_save` need not match anything: files name heads that other models
  /// have.
  func mayBeMissing(_ name: String) -> Bool {
    model is TaskModel && Self.headNames.values.contains { $0.contains(name) }
  }
}
