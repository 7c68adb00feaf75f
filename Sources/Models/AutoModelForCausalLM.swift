import Checkpoints
import JSONValues
public import Layers
public import Quantization
public import Tensors

/// Opens a model directory as whatever its `config.json` says it is.
public enum AutoModelForCausalLM {
  /// Families by `model_type`.
  ///
  /// A new one is one line here.
  static let families: [DecoderFamily] = [
    .llama, .mistral, .ministral3, .qwen2, .qwen3, .gemma, .gemma2, .gemma3, .phi, .phi3, .granite,
    .olmo2, .smollm3, .gpt2,
  ]

  /// Values of `model_type` that can be opened.
  public static var modelTypes: [String] { families.map(\.modelType).sorted() }

  /// Opens a model directory.
  ///
  /// Weights are mapped from the files, not read, where dtype and device allow it.
  ///
  /// - Parameters:
  ///   - directory: A Hugging Face directory: `config.json` and safetensors, sharded or not.
  ///   - dtype: Type to compute in; nil for the checkpoint's own.
  ///   - device: Where to compute.
  ///   - quantization: How linear layers are quantised as they are read; nil for not at all. A
  ///     checkpoint that bitsandbytes quantised is opened as it is without this, and has to be in the
  ///     same format with it.
  ///   - blocks: Takes the numbers of each block as soon as it is made, and brings them for each pass;
  ///     nil for leaving them in memory. On the processor only.
  /// - Returns: The model, nothing of it trainable.
  /// - Throws: ``ModelError``, `QuantizationError`, `CheckpointError` or `JSONError` when the
  ///   directory is not such a model, and what `blocks` throws.
  public static func fromPretrained(
    _ directory: String, dtype: DType? = .float32, device: Device = .cpu,
    quantization: QuantizationOptions? = nil, blocks: (any BlockSource)? = nil
  ) throws -> DecoderForCausalLM {
    precondition(blocks == nil || device.kind == .cpu, "blocks that come and go on \(device)")
    let (json, path) = try Self.json(of: directory)
    let stored = try stored(json, path, directory, quantization)
    let configuration = try Self.configuration(json, path)
    let checkpoint = try SafetensorsCheckpoint(directory: directory)
    return try DecoderLoader(
      configuration: configuration, checkpoint: checkpoint, dtype: dtype, device: device,
      quantization: quantization, stored: stored, residency: blocks.map(BlockResidency.init)
    ).causalLM()
  }

  /// How the weights of a model directory are quantised.
  ///
  /// - Parameter directory: A Hugging Face directory.
  /// - Returns: The format, or nil when the model is not quantised.
  /// - Throws: `QuantizationError` when it is in a way that is not known here; `JSONError` when
  ///   `config.json` is missing or malformed.
  public static func storedFormat(of directory: String) throws -> WeightFormat? {
    let (json, path) = try json(of: directory)
    guard let stored = try BitsAndBytesConfiguration(model: json, path: path) else { return nil }
    let checkpoint = try SafetensorsCheckpoint(directory: directory)
    return QuantizedWeightReader(checkpoint: checkpoint, configuration: stored).format
  }

  /// Reads the configuration of a model directory.
  ///
  /// - Parameter directory: A Hugging Face directory.
  /// - Returns: Shape and switches.
  /// - Throws: ``ModelError`` or `JSONError` when `config.json` is missing or unusable.
  public static func configuration(of directory: String) throws -> DecoderConfiguration {
    let (json, path) = try json(of: directory)
    return try configuration(json, path)
  }

  /// How a checkpoint is quantised already, which a wish for another format contradicts.
  static func stored(
    _ json: JSON, _ path: String, _ directory: String, _ quantization: QuantizationOptions?
  ) throws -> BitsAndBytesConfiguration? {
    let stored = try BitsAndBytesConfiguration(model: json, path: path)
    if let stored, let quantization {
      // The loader compares the rest, which may stand beside each weight.
      let format = stored.format()
      guard format.name == quantization.format.name else {
        throw QuantizationError.alreadyQuantized(
          path: directory, format: format.name, wanted: quantization.format.name)
      }
    }
    return stored
  }

  /// The configuration of a directory, or such a file itself.
  static func json(of directory: String) throws(JSONError) -> (JSON, path: String) {
    let path = directory.hasSuffix(".json") ? directory : directory + "/config.json"
    return (try JSON.read(path: path), path)
  }

  static func configuration(
    _ json: JSON, _ path: String
  ) throws(ModelError) -> DecoderConfiguration {
    let reader = ConfigurationReader(json: json, path: path)
    let type = try reader.string("model_type")
    guard let family = families.first(where: { $0.modelType == type }) else {
      throw ModelError.unknownModelType(path: path, type: type, known: modelTypes)
    }
    return try DecoderConfiguration(family.reader(json, path: path), family: family)
  }
}
