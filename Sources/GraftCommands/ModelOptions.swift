import CommandLineParsing
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
    help: "Model directory, GGUF file, or the hub name of a downloaded model.")
  static let adapter = Option<String>(
    "adapter", default: nil, group: "Model", help: "Adapter directory in PEFT's format.")
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
