import Checkpoints
import JSONValues
public import Layers
public import Quantization
public import Tensors

/// Opens the directory of a model that turns a text into another, as whatever its `config.json` says.
public enum AutoModelForSeq2SeqLM {
  /// Families by `model_type`.
  ///
  /// A new one is one line here.
  static let families: [EncoderDecoderFamily] = [.t5, .mt5, .bart]

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
  ///   - quantization: How linear layers are quantised as they are read; nil for not at all.
  ///   - blocks: Takes the numbers of each block of both stacks as soon as it is made, and brings them
  ///     for each pass; nil for leaving them in memory. On the processor only.
  /// - Returns: The model, nothing of it trainable.
  /// - Throws: ``ModelError``, `QuantizationError`, `CheckpointError` or `JSONError` when the
  ///   directory is not such a model, and what `blocks` throws.
  public static func fromPretrained(
    _ directory: String, dtype: DType? = .float32, device: Device = .cpu,
    quantization: QuantizationOptions? = nil, blocks: (any BlockSource)? = nil
  ) throws -> EncoderDecoderForConditionalGeneration {
    precondition(blocks == nil || device.kind == .cpu, "blocks that come and go on \(device)")
    let (json, path) = try AutoModelForCausalLM.json(of: directory)
    return try loader(
      directory, json, path, dtype: dtype, device: device, quantization: quantization,
      residency: blocks.map(BlockResidency.init)
    ).conditionalGeneration()
  }

  /// Reads the configuration of a model directory.
  ///
  /// - Parameter directory: A Hugging Face directory.
  /// - Returns: Shape and switches.
  /// - Throws: ``ModelError`` or `JSONError` when `config.json` is missing or unusable.
  public static func configuration(of directory: String) throws -> EncoderDecoderConfiguration {
    let (json, path) = try AutoModelForCausalLM.json(of: directory)
    let family = try family(json, path)
    return try EncoderDecoderConfiguration(family.reader(json, path: path), family: family)
  }

  /// Whether a model directory is of this kind, by its `model_type`.
  ///
  /// - Parameter directory: A Hugging Face directory.
  /// - Returns: True for a model with encoder and decoder, whatever its checkpoint has a head for.
  /// - Throws: ``ModelError`` or `JSONError` when `config.json` is missing or says no type.
  public static func isKind(of directory: String) throws -> Bool {
    let (json, path) = try AutoModelForCausalLM.json(of: directory)
    return modelTypes.contains(
      try ConfigurationReader(json: json, path: path).string("model_type"))
  }

  static func family(_ json: JSON, _ path: String) throws(ModelError) -> EncoderDecoderFamily {
    let type = try ConfigurationReader(json: json, path: path).string("model_type")
    guard let found = families.first(where: { $0.modelType == type }) else {
      throw ModelError.unknownModelType(path: path, type: type, known: modelTypes)
    }
    return found
  }

  static func loader(
    _ directory: String, _ json: JSON, _ path: String, dtype: DType?, device: Device,
    quantization: QuantizationOptions?, residency: BlockResidency?
  ) throws -> EncoderDecoderLoader {
    let family = try family(json, path)
    let stored = try AutoModelForCausalLM.stored(json, path, directory, quantization)
    return EncoderDecoderLoader(
      configuration: try EncoderDecoderConfiguration(
        family.reader(json, path: path), family: family),
      checkpoint: try SafetensorsCheckpoint(directory: directory), dtype: dtype, device: device,
      quantization: quantization, stored: stored, residency: residency)
  }
}
