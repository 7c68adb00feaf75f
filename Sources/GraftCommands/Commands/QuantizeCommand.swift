import CommandLineParsing
import Foundation
import JSONValues
import Models
import Quantization

/// `graft quantize`.
enum QuantizeCommand: Verb {
  static let format = Option<BaseFormat>("format", default: nil, help: "int8, nf4 or fp4.")
  static let output = Option<String>("output", default: nil, help: "Directory to write.")
  static let dtype = Option<Precision>(
    "dtype", default: nil,
    help: "Type of what is not quantised, and of weights as numbers; default the model's own.")
  static let skip = Option<String>(
    "skip-modules", default: "lm_head", help: "Linear layers that stay as they are; with commas.")
  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "quantize", summary: "Write a model with weights of 8 or 4 bits, as bitsandbytes does",
    options: [
      format, output, dtype, skip, json, ModelOptions.model, ModelOptions.doubleQuant,
      ModelOptions.blockSize, ModelOptions.threshold, ModelOptions.threads,
      ShardOptions.maximumShardSize,
    ])

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    try arguments.require(ModelOptions.model, format, output)
    let chosen = try arguments.value(format)
    guard let weights = try ModelOptions.format(arguments, chosen, option: "format") else {
      throw UsageError("--format none writes nothing new; choose int8, nf4 or fp4")
    }
    try ModelSource.setThreads(arguments)
    let directory = try arguments.value(output)
    let source = try ModelSource.directory(of: try arguments.value(ModelOptions.model))
    if let stored = try AutoModelForCausalLM.storedFormat(of: source) {
      throw QuantizationError.alreadyQuantized(
        path: source, format: stored.description, wanted: weights.description)
    }
    let skipped = try arguments.value(skip).split(separator: ",").map {
      $0.trimmingCharacters(in: .whitespaces)
    }
    let options = QuantizationOptions(weights, skippedModules: skipped)
    let dtype = arguments[dtype]?.dtype
    let model = try StoredModels.open(source, dtype: dtype, quantization: options)
    if let unknown = options.unknownNames(in: model).first {
      throw UsageError("--skip-modules \"\(unknown)\": \(source) has no such linear layer")
    }
    let written = try ModelDirectoryWriter(
      model: model, source: source, dtype: dtype, format: weights,
      shardLimit: ShardOptions.limit(arguments)
    ).write(directory)
    if arguments[json] {
      console.write([
        "output": .string(directory), "format": .string(weights.name),
        "tensors": .integer(written.tensors), "parameters": .integer(written.parameters),
      ])
    } else {
      console.write("\(directory): \(weights.name), \(written.parameters) parameters\n")
    }
    return .done
  }
}
