public import Quantization
public import Tensors

/// Opens a model directory to fill in hidden tokens; see ``AutoModel``.
public enum AutoModelForMaskedLM {
  /// Values of `model_type` that can be opened.
  public static var modelTypes: [String] { AutoModel.modelTypes(for: .maskedLM) }

  /// Opens a model directory.
  ///
  /// - Parameters:
  ///   - directory: A Hugging Face directory.
  ///   - dtype: Type to compute in; nil for the checkpoint's own.
  ///   - device: Where to compute.
  ///   - quantization: How linear layers below the head are quantised; nil for not.
  ///   - seed: Start of random numbers of layers that the checkpoint lacks.
  /// - Returns: The model, nothing of it trainable.
  /// - Throws: As ``AutoModel/fromPretrained(_:task:labels:dtype:device:quantization:seed:)``.
  public static func fromPretrained(
    _ directory: String, dtype: DType? = .float32, device: Device = .cpu,
    quantization: QuantizationOptions? = nil, seed: UInt64 = 0
  ) throws -> TaskModel {
    try AutoModel.fromPretrained(
      directory, task: .maskedLM, dtype: dtype, device: device,
      quantization: quantization, seed: seed)
  }
}

/// Opens a model directory to classify rows; see ``AutoModel``.
public enum AutoModelForSequenceClassification {
  /// Values of `model_type` that can be opened.
  public static var modelTypes: [String] { AutoModel.modelTypes(for: .sequenceClassification) }

  /// Opens a model directory.
  ///
  /// - Parameters:
  ///   - directory: A Hugging Face directory.
  ///   - labels: Outputs of the head; nil for those of `config.json`.
  ///   - dtype: Type to compute in; nil for the checkpoint's own.
  ///   - device: Where to compute.
  ///   - quantization: How linear layers below the head are quantised; nil for not.
  ///   - seed: Start of random numbers of layers that the checkpoint lacks.
  /// - Returns: The model, nothing of it trainable.
  /// - Throws: As ``AutoModel/fromPretrained(_:task:labels:dtype:device:quantization:seed:)``.
  public static func fromPretrained(
    _ directory: String, labels: ModelLabels? = nil, dtype: DType? = .float32,
    device: Device = .cpu,
    quantization: QuantizationOptions? = nil, seed: UInt64 = 0
  ) throws -> TaskModel {
    try AutoModel.fromPretrained(
      directory, task: .sequenceClassification, labels: labels, dtype: dtype, device: device,
      quantization: quantization, seed: seed)
  }
}

/// Opens a model directory to classify tokens; see ``AutoModel``.
public enum AutoModelForTokenClassification {
  /// Values of `model_type` that can be opened.
  public static var modelTypes: [String] { AutoModel.modelTypes(for: .tokenClassification) }

  /// Opens a model directory.
  ///
  /// - Parameters:
  ///   - directory: A Hugging Face directory.
  ///   - labels: Outputs of the head; nil for those of `config.json`.
  ///   - dtype: Type to compute in; nil for the checkpoint's own.
  ///   - device: Where to compute.
  ///   - quantization: How linear layers below the head are quantised; nil for not.
  ///   - seed: Start of random numbers of layers that the checkpoint lacks.
  /// - Returns: The model, nothing of it trainable.
  /// - Throws: As ``AutoModel/fromPretrained(_:task:labels:dtype:device:quantization:seed:)``.
  public static func fromPretrained(
    _ directory: String, labels: ModelLabels? = nil, dtype: DType? = .float32,
    device: Device = .cpu,
    quantization: QuantizationOptions? = nil, seed: UInt64 = 0
  ) throws -> TaskModel {
    try AutoModel.fromPretrained(
      directory, task: .tokenClassification, labels: labels, dtype: dtype, device: device,
      quantization: quantization, seed: seed)
  }
}

/// Opens a model directory to find answers in rows; see ``AutoModel``.
public enum AutoModelForQuestionAnswering {
  /// Values of `model_type` that can be opened.
  public static var modelTypes: [String] { AutoModel.modelTypes(for: .questionAnswering) }

  /// Opens a model directory.
  ///
  /// - Parameters:
  ///   - directory: A Hugging Face directory.
  ///   - dtype: Type to compute in; nil for the checkpoint's own.
  ///   - device: Where to compute.
  ///   - quantization: How linear layers below the head are quantised; nil for not.
  ///   - seed: Start of random numbers of layers that the checkpoint lacks.
  /// - Returns: The model, nothing of it trainable.
  /// - Throws: As ``AutoModel/fromPretrained(_:task:labels:dtype:device:quantization:seed:)``.
  public static func fromPretrained(
    _ directory: String, dtype: DType? = .float32, device: Device = .cpu,
    quantization: QuantizationOptions? = nil, seed: UInt64 = 0
  ) throws -> TaskModel {
    try AutoModel.fromPretrained(
      directory, task: .questionAnswering, dtype: dtype, device: device,
      quantization: quantization, seed: seed)
  }
}
