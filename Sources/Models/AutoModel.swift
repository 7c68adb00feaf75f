import Checkpoints
import JSONValues
public import Layers
public import Quantization
public import Tensors

/// Opens a model directory for a task, as whatever its `config.json` says it is.
public enum AutoModel {
  /// Families of encoders by `model_type`.
  ///
  /// A new one is one line here.
  static let encoders: [EncoderFamily] = [.bert, .roberta, .xlmRoberta, .distilbert, .modernbert]

  /// Values of `model_type` that can be opened for a task.
  ///
  /// - Parameter task: The task.
  /// - Returns: Names in alphabetical order.
  public static func modelTypes(for task: ModelTask) -> [String] {
    let joint = AutoModelForSeq2SeqLM.families.filter { $0.tasks.contains(task) }.map(\.modelType)
    let own = task == .causalLM || task == .seq2seqLM ? [] : encoders.map(\.modelType)
    return (own + joint + DecoderHeads.modelTypes(for: task)).sorted()
  }

  /// Opens a model directory.
  ///
  /// Weights are mapped from the files, not read, where dtype and device allow it.
  ///
  /// - Parameters:
  ///   - directory: A Hugging Face directory: `config.json` and safetensors, sharded or not.
  ///   - task: What it is opened for; layers of its head that the checkpoint lacks begin with random
  ///     numbers and are listed in ``TaskModel/newLayers``.
  ///   - labels: Outputs of a classification head; nil for those of `config.json`.
  ///   - dtype: Type to compute in; nil for the checkpoint's own.
  ///   - device: Where to compute.
  ///   - quantization: How linear layers below the head are quantised as they are read; nil for not.
  ///   - seed: Start of random numbers.
  ///   - blocks: Takes the numbers of each block as soon as it is made, and brings them for each pass;
  ///     nil for leaving them in memory. On the processor only.
  /// - Returns: The model, nothing of it trainable.
  /// - Throws: ``ModelError``, `QuantizationError`, `CheckpointError` or `JSONError` when the
  ///   directory is not such a model, and what `blocks` throws.
  public static func fromPretrained(
    _ directory: String, task: ModelTask = .featureExtraction, labels: ModelLabels? = nil,
    dtype: DType? = .float32, device: Device = .cpu, quantization: QuantizationOptions? = nil,
    seed: UInt64 = 0, blocks: (any BlockSource)? = nil
  ) throws -> TaskModel {
    precondition(blocks == nil || device.kind == .cpu, "blocks that come and go on \(device)")
    return try model(
      directory,
      Opening(
        task: task, labels: labels, dtype: dtype, device: device, quantization: quantization,
        seed: seed, blocks: blocks))
  }

  /// How a model is opened.
  struct Opening {
    var task: ModelTask
    var labels: ModelLabels?
    var dtype: DType?
    /// `meta` for the shapes of a configuration alone.
    var device: Device
    var quantization: QuantizationOptions?
    var seed: UInt64 = 0
    var blocks: (any BlockSource)?
  }

  static func model(_ directory: String, _ opening: Opening) throws -> TaskModel {
    let (task, dtype, device) = (opening.task, opening.dtype, opening.device)
    let (quantization, blocks) = (opening.quantization, opening.blocks)
    precondition(task != .causalLM, "AutoModel: AutoModelForCausalLM opens models for text")
    precondition(
      task != .seq2seqLM, "AutoModel: AutoModelForSeq2SeqLM opens models of a text for a text")
    let (json, path) = try AutoModelForCausalLM.json(of: directory)
    let reader = ConfigurationReader(json: json, path: path)
    let type = try reader.string("model_type")
    guard modelTypes(for: task).contains(type) else {
      throw ModelError.unknownModelType(path: path, type: type, known: modelTypes(for: task))
    }
    let joint = AutoModelForSeq2SeqLM.families.first { $0.modelType == type }
    // Classes have defaults of their own for the number of outputs.
    let loader = TaskLoader(
      task: task,
      labels: try task.outputs(opening.labels, joint?.reader(json, path: path) ?? reader),
      seed: opening.seed,
      residency: blocks.map(BlockResidency.init))
    if let family = joint {
      return try loader.model(
        device == .meta
          ? AutoModelForSeq2SeqLM.metaLoader(json, path, dtype: dtype)
          : AutoModelForSeq2SeqLM.loader(
            directory, json, path, dtype: dtype, device: device, quantization: quantization,
            residency: loader.residency),
        family)
    }
    let isMeta = device == .meta
    let stored = isMeta ? nil : try BitsAndBytesConfiguration(model: json, path: path)
    let checkpoint = isMeta ? nil : try SafetensorsCheckpoint(directory: directory)
    guard let family = encoders.first(where: { $0.modelType == type }) else {
      return try loader.model(
        DecoderLoader(
          configuration: try AutoModelForCausalLM.configuration(json, path),
          checkpoint: checkpoint, dtype: dtype, device: device, quantization: quantization,
          stored: stored, residency: loader.residency))
    }
    let configuration = try EncoderConfiguration(family.reader(json, path: path), family: family)
    let names = configuration.names
    return try loader.model(
      configuration,
      ModelWeights(
        checkpoint: checkpoint, dtype: dtype, device: device, quantization: quantization,
        stored: stored, storedDType: configuration.storedDType, bases: [names.encoder],
        probe: names.tokens + ".weight"))
  }

  /// What data for a model have to fit.
  ///
  /// - Parameter directory: A Hugging Face directory.
  /// - Returns: Tokens that a row may have, segments, and tokens of the vocabulary.
  /// - Throws: ``ModelError`` or `JSONError` when `config.json` is missing or unusable.
  public static func shape(
    of directory: String
  ) throws -> (maximumLength: Int, tokenTypeCount: Int, vocabularySize: Int) {
    let (json, path) = try AutoModelForCausalLM.json(of: directory)
    let type = try ConfigurationReader(json: json, path: path).string("model_type")
    if let family = encoders.first(where: { $0.modelType == type }) {
      let c = try EncoderConfiguration(family.reader(json, path: path), family: family)
      return (c.maximumLength, c.tokenTypeCount, c.vocabularySize)
    }
    if AutoModelForSeq2SeqLM.modelTypes.contains(type) {
      let c = try AutoModelForSeq2SeqLM.configuration(of: directory)
      return (c.maximumLength ?? Int(Int32.max), 0, c.vocabularySize)
    }
    let c = try AutoModelForCausalLM.configuration(json, path)
    return (c.maximumLength, 0, c.vocabularySize)
  }

  /// What a model directory is for, by the class that `architectures` of its `config.json` names.
  ///
  /// - Parameter directory: A Hugging Face directory.
  /// - Returns: The task; without a name that says it, text for decoders, a text for a text for models
  ///   with both, and features for encoders.
  /// - Throws: ``ModelError`` or `JSONError` when `config.json` is missing or unusable.
  public static func task(of directory: String) throws -> ModelTask {
    let (json, path) = try AutoModelForCausalLM.json(of: directory)
    let reader = ConfigurationReader(json: json, path: path)
    let type = try reader.string("model_type")
    let isEncoder = encoders.contains { $0.modelType == type }
    let named = try reader.strings("architectures")?.first.flatMap(ModelTask.init(architecture:))
    if AutoModelForSeq2SeqLM.modelTypes.contains(type) {
      let isForText = try reader.strings("architectures")?.first?.hasSuffix("EncoderModel") != true
      // The first files say "T5WithLMHeadModel".
      return named == nil || named == .causalLM || named == .featureExtraction && isForText
        ? .seq2seqLM : named ?? .seq2seqLM
    }
    // A bare decoder is one for text: its head may be the embeddings' table.
    return isEncoder
      ? named ?? .featureExtraction
      : named == .featureExtraction ? .causalLM : named ?? .causalLM
  }

  /// The outputs of the classification head that `config.json` describes.
  ///
  /// - Parameter directory: A Hugging Face directory.
  /// - Returns: Names and kind; two classes where the file says nothing.
  /// - Throws: ``ModelError`` or `JSONError` when `config.json` is missing or unusable.
  public static func labels(of directory: String) throws -> ModelLabels {
    let (json, path) = try AutoModelForCausalLM.json(of: directory)
    return try labels(json, path)
  }

  private static func labels(_ json: JSON, _ path: String) throws(ModelError) -> ModelLabels {
    let reader = ConfigurationReader(json: json, path: path)
    let type = try reader.string("model_type")
    // Classes have defaults of their own for the number of outputs.
    let family = AutoModelForSeq2SeqLM.families.first { $0.modelType == type }
    return try ModelLabels(family?.reader(json, path: path) ?? reader)
  }
}
