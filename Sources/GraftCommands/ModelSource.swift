import Adapters
import Checkpoints
import CommandLineParsing
import Datasets
import Foundation
import JSONValues
import Layers
import Models
import Quantization
import Tensors
import Tokenizers

/// A model on disk, as the options name it.
struct ModelSource {
  let directory: String
  private let isQuiet: Bool
  let device: Device
  let dtype: DType
  let quantization: QuantizationOptions?

  /// Finds the model; `isQuiet` keeps the progress of a download off the screen.
  init(_ arguments: ParsedArguments, isQuiet: Bool = false) throws {
    self.isQuiet = isQuiet
    directory = try Self.directory(
      of: try arguments.value(ModelOptions.model), isQuiet: isQuiet)
    switch arguments[ModelOptions.device] ?? .auto {
    case .auto: device = .best
    case .cpu: device = .cpu
    case .cuda: device = Device(.cuda, index: 0)
    case .mps: device = Device(.mps, index: 0)
    }
    guard device.isAvailable else {
      throw UsageError("--device \(device): this LibTorch finds no such hardware here")
    }
    dtype = (arguments[ModelOptions.precision] ?? .float32).dtype
    quantization = try ModelOptions.quantization(arguments, of: directory)
    try Self.setThreads(arguments)
  }

  /// Takes over `--threads`.
  static func setThreads(_ arguments: ParsedArguments) throws {
    if let threads = arguments[ModelOptions.threads] {
      // LibTorch would start them all, whatever the system can bear.
      let most = 8 * ProcessInfo.processInfo.activeProcessorCount
      guard (1...most).contains(threads) else {
        throw UsageError("--threads is \(threads), expected 1 to \(most)")
      }
      Runtime.threadCount = threads
    }
  }

  /// The model directory that a `--model` means: a directory, a GGUF file or a hub name.
  static func directory(
    of path: String, _ contents: HubContents = .model, isQuiet: Bool = false
  ) throws -> String {
    path.lowercased().hasSuffix(".gguf")
      ? try imported(path) : try HubNames.directory(of: path, contents, isQuiet: isQuiet)
  }

  /// Checks that the model has an embedding for every token of some examples.
  func check(_ examples: [TokenizedExample], _ configuration: DecoderConfiguration) throws {
    try check(examples, vocabularySize: configuration.vocabularySize)
  }

  /// Checks that the model has an embedding for every token of some examples.
  func check(_ examples: [TokenizedExample], vocabularySize: Int) throws {
    let largest = examples.reduce(Int32(0)) { max($0, $1.ids.max() ?? 0) }
    guard Int(largest) < vocabularySize else {
      throw ModelError.input(
        "\(directory): the tokenizer makes token id \(largest), but the model's vocabulary has "
          + "\(vocabularySize): they do not belong together")
    }
  }

  /// The model; `blocks` keeps what is frozen in its blocks, nil for leaving that in memory.
  func model(blocks: (any BlockSource)? = nil) throws -> DecoderForCausalLM {
    try AutoModelForCausalLM.fromPretrained(
      directory, dtype: dtype, device: device, quantization: quantization, blocks: blocks)
  }

  func tokenizer() throws -> Tokenizer { try Tokenizer(directory: directory) }

  /// The model with the adapter that `--adapter` names, if any.
  func model(
    adapter: String?, trainable: Bool = false
  ) throws -> (DecoderForCausalLM, PeftModel<DecoderForCausalLM>?) {
    let base = try model()
    guard let adapter else { return (base, nil) }
    let directory = try HubNames.adapter(adapter, isQuiet: isQuiet)
    return (base, try PeftModel.fromPretrained(base, directory, trainable: trainable))
  }

  /// Tokens that end a text: `generation_config.json` wins over `config.json`.
  func endOfTextIDs(_ configuration: DecoderConfiguration) -> Set<Int> {
    if let json = try? JSON.read(path: directory + "/generation_config.json"),
      let value = json["eos_token_id"], !value.isNull
    {
      return Set(value.arrayValue?.compactMap(\.intValue) ?? [value.intValue].compactMap { $0 })
    }
    return Set(configuration.endOfTextIDs)
  }

  /// A GGUF file is imported once into a directory of the user's.
  private static func imported(_ path: String) throws -> String {
    guard let attributes = try? FileManager.default.attributesOfItem(atPath: path),
      let size = attributes[.size] as? Int, let date = attributes[.modificationDate] as? Date
    else { throw CheckpointError.missing(path: path) }
    let environment = ProcessInfo.processInfo.environment
    let data = environment["XDG_DATA_HOME"] ?? NSHomeDirectory() + "/.local/share"
    let home = environment["GRAFT_HOME"] ?? data + "/graft"
    let name = URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
    let directory = "\(home)/imported/\(name)-\(size)-\(Int(date.timeIntervalSince1970))"
    if !FileManager.default.fileExists(atPath: directory + "/config.json") {
      try makeDirectory(home + "/imported")
      _ = try GGUFImporter.importModel(from: path, to: directory)
    }
    return directory
  }
}
