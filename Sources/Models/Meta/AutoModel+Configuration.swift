import JSONValues
public import Tensors

/// Models of a configuration alone, on LibTorch's `meta` device: every layer with its shapes and types,
/// but no numbers and no memory for them.
///
/// They can be counted, wrapped with adapters and run for the shapes of results; ``loadWeights`` of each
/// puts a checkpoint's weights in. Familiar as `torch.device("meta")` and accelerate's
/// `init_empty_weights`.
extension AutoModelForCausalLM {
  /// Makes a model of a configuration alone.
  ///
  /// - Parameters:
  ///   - path: A directory with a `config.json`, or such a file itself; no weights are looked for.
  ///   - dtype: Type of the weights; nil for the one that the configuration says.
  /// - Returns: The model on the device `meta`.
  /// - Throws: ``ModelError`` or `JSONError` when the configuration is missing or unusable.
  public static func fromConfiguration(
    _ path: String, dtype: DType? = .float32
  ) throws -> DecoderForCausalLM {
    let (json, path) = try json(of: path)
    return try DecoderLoader(
      configuration: try configuration(json, path), checkpoint: nil, dtype: dtype, device: .meta,
      quantization: nil, stored: nil
    ).causalLM()
  }
}

extension AutoModelForSeq2SeqLM {
  /// Makes a model of a configuration alone.
  ///
  /// - Parameters:
  ///   - path: A directory with a `config.json`, or such a file itself; no weights are looked for.
  ///   - dtype: Type of the weights; nil for the one that the configuration says.
  /// - Returns: The model on the device `meta`.
  /// - Throws: ``ModelError`` or `JSONError` when the configuration is missing or unusable.
  public static func fromConfiguration(
    _ path: String, dtype: DType? = .float32
  ) throws -> EncoderDecoderForConditionalGeneration {
    let (json, path) = try AutoModelForCausalLM.json(of: path)
    return try metaLoader(json, path, dtype: dtype).conditionalGeneration()
  }

  static func metaLoader(
    _ json: JSON, _ path: String, dtype: DType?
  ) throws -> EncoderDecoderLoader {
    let family = try family(json, path)
    return EncoderDecoderLoader(
      configuration: try EncoderDecoderConfiguration(
        family.reader(json, path: path), family: family), checkpoint: nil, dtype: dtype,
      device: .meta, quantization: nil, stored: nil)
  }
}

extension AutoModel {
  /// Makes a model of a configuration alone, for a task.
  ///
  /// - Parameters:
  ///   - path: A directory with a `config.json`, or such a file itself; no weights are looked for.
  ///   - task: What it is for; its head has all its layers, and none counts as new.
  ///   - labels: Outputs of a classification head; nil for those of the configuration.
  ///   - dtype: Type of the weights; nil for the one that the configuration says.
  /// - Returns: The model on the device `meta`.
  /// - Throws: ``ModelError`` or `JSONError` when the configuration is missing or unusable, or is none
  ///   of a model for the task.
  public static func fromConfiguration(
    _ path: String, task: ModelTask = .featureExtraction, labels: ModelLabels? = nil,
    dtype: DType? = .float32
  ) throws -> TaskModel {
    try model(path, Opening(task: task, labels: labels, dtype: dtype, device: .meta))
  }
}
