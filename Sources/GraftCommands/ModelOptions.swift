import CommandLineParsing
import Models
import Quantization
import Tensors

/// Type that a model is computed in.
enum Precision: String, CaseIterable, OptionValue {
  case float32
  case bfloat16
  case float16

  var dtype: DType {
    switch self {
    case .float32: .float32
    case .bfloat16: .bfloat16
    case .float16: .float16
    }
  }
}

/// How the weights of a frozen base are kept.
enum BaseFormat: String, CaseIterable, OptionValue {
  case none
  case int8
  case nf4
  case fp4
}

/// Where a model is computed.
enum DeviceName: String, CaseIterable, OptionValue {
  case auto
  case cpu
  case cuda
  case mps
}

/// Options that say which model and how it is opened, the same for every verb.
enum ModelOptions {
  static let model = Option<String>(
    "model", default: nil, group: "Model",
    help: "Model directory, GGUF file, or ORG/NAME[@REVISION] on the hub.")
  static let adapter = Option<String>(
    "adapter", default: nil, group: "Model",
    help: "Adapter directory in PEFT's format, or ORG/NAME[@REVISION] on the hub.")
  static let precision = Option<Precision>(
    "precision", default: .float32, group: "Model", help: "Type to compute in.")
  static let device = Option<DeviceName>(
    "device", default: .auto, group: "Model", help: "Where to compute.")
  static let threads = Option<Int>(
    "threads", default: nil, group: "Model", help: "Threads of the processor; default all cores.")

  static let quantize = Option<BaseFormat>(
    "quantize", default: BaseFormat.none, group: "Model", help: "How the base's weights are kept.")
  static let doubleQuant = Flag(
    "double-quant", group: "Model", help: "With nf4 and fp4: quantise the blocks' scales too.")
  static let blockSize = Option<Int>(
    "block-size", default: 64, group: "Model", help: "With nf4 and fp4: elements of a block.")
  static let threshold = Option<Double>(
    "int8-threshold", default: 6, group: "Model",
    help: "With int8: activations from this magnitude are multiplied in float32; 0 for none.")
  static let quantizeEmbeddings = Flag(
    "quantize-embeddings", group: "Model", help: "With --quantize: the embedding table too.")

  /// How a base is opened.
  static let opening: [any OptionDeclaration] = [
    quantize, doubleQuant, blockSize, threshold, quantizeEmbeddings, precision, device, threads,
  ]
  static let all: [any OptionDeclaration] = [model, adapter] + opening

  /// How the options want a model's base to be kept; nil for as it is.
  ///
  /// What a stored format has and no option contradicts is taken over from it.
  static func quantization(
    _ arguments: ParsedArguments, of directory: String
  ) throws -> QuantizationOptions? {
    let embeddings = arguments[quantizeEmbeddings]
    guard var format = try format(arguments) else {
      if embeddings { throw UsageError("--quantize-embeddings needs --quantize") }
      return nil
    }
    if let stored = try AutoModelForCausalLM.storedFormat(of: directory) {
      func wrong(_ name: String) -> UsageError {
        UsageError("--\(name): \(directory) is stored in \(stored)")
      }
      switch (format, stored) {
      case (.int8(let wanted), .int8(let threshold)):
        if wanted != 6, wanted != threshold { throw wrong("int8-threshold") }
        format = stored
      case (
        .fourBit(let type, let size, let nested),
        .fourBit(let storedType, let storedSize, let isNested)
      ) where type == storedType:
        if size != 64, size != storedSize { throw wrong("block-size") }
        if nested, !isNested { throw wrong("double-quant") }
        format = stored
      default: break  // Opening says that the formats differ.
      }
    }
    return QuantizationOptions(format, quantizesEmbeddings: embeddings)
  }

  /// The format that the options mean; nil for none.
  ///
  /// An option that the format does not have is an error.
  static func format(
    _ arguments: ParsedArguments, _ chosen: BaseFormat? = nil, option: String = "quantize"
  ) throws -> WeightFormat? {
    let chosen = chosen ?? arguments[quantize] ?? .none
    func refuse(_ name: String, _ isRight: Bool, _ needed: String) throws {
      if arguments.isGiven(name), !isRight {
        throw UsageError("--\(name) needs --\(option) \(needed)")
      }
    }
    let isFourBit = chosen == .nf4 || chosen == .fp4
    // A recipe says every option; only what asks for something counts.
    if arguments[doubleQuant] { try refuse("double-quant", isFourBit, "nf4 or fp4") }
    if arguments[blockSize] != 64 { try refuse("block-size", isFourBit, "nf4 or fp4") }
    if arguments[threshold] != 6 { try refuse("int8-threshold", chosen == .int8, "int8") }
    let size = try arguments.value(blockSize)
    guard FourBitCodes.blockSizes.contains(size) else {
      let sizes = FourBitCodes.blockSizes.map(String.init).joined(separator: ", ")
      throw UsageError("--block-size is \(size), expected one of \(sizes)")
    }
    switch chosen {
    case .none: return nil
    case .int8:
      let limit = try arguments.value(threshold)
      guard limit >= 0, limit.isFinite else {
        throw UsageError("--int8-threshold is \(limit), expected 0 or more")
      }
      return .int8(threshold: limit)
    case .nf4, .fp4:
      return .fourBit(
        chosen == .nf4 ? .nf4 : .fp4, blockSize: size,
        doubleQuantization: arguments[doubleQuant])
    }
  }
}
