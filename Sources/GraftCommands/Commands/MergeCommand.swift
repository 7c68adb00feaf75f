import Adapters
import CommandLineParsing
import JSONValues
import Models
import Quantization
import Tensors

/// `graft merge`.
enum MergeCommand: Verb {
  static let adapters = Option<String>(
    "adapter", default: nil, help: "Adapter directory; several are merged one after another.",
    isRepeated: true)
  static let output = Option<String>("output", default: nil, help: "Directory to write.")
  static let dtype = Option<Precision>(
    "dtype", default: nil, help: "Type of the written weights; default the base's own.")
  static let safe = Flag(
    "safe", default: true, help: "Refuse to write weights that are not finite.")

  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "merge", summary: "Write a model with adapters added to its weights",
    options: [
      adapters, output, dtype, safe, json, ModelOptions.model, TaskOptions.task,
      ModelOptions.quantize,
      ModelOptions.doubleQuant, ModelOptions.blockSize, ModelOptions.threshold,
      ModelOptions.threads, ShardOptions.maximumShardSize,
    ])

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    try arguments.require(ModelOptions.model, adapters, output)
    let paths = try arguments.values(adapters).map { try HubNames.adapter($0) }
    try ModelSource.setThreads(arguments)
    let source = try ModelSource.directory(of: try arguments.value(ModelOptions.model))
    let task = try TaskOptions.task(arguments, source, adapter: paths.first)
    // What stays in numbers is checked once, as it is written.
    let checksLayers = try arguments[safe] && ModelOptions.format(arguments) != nil
    func merged<Base: StoredModel>(
      _ model: Base, _ visit: (PeftModel<Base>) -> Void = { _ in }
    ) throws -> Base {
      try AdapterMerging.merge(paths, into: model, safely: checksLayers, visit)
      return model
    }
    switch task {
    case .causalLM:
      let model = try AutoModelForCausalLM.fromPretrained(source, dtype: nil)
      return try write(try merged(model), source, paths, arguments, console)
    case .seq2seqLM:
      let model = try AutoModelForSeq2SeqLM.fromPretrained(source, dtype: nil)
      return try write(try merged(model), source, paths, arguments, console)
    default:
      let model = try AutoModel.fromPretrained(
        source, task: task, labels: try LabelFile.labels(adapter: paths.first, model: source),
        dtype: nil)
      var brought: Set<String> = []
      _ = try merged(model) { brought.formUnion(model.newLayers(in: $0)) }
      try model.requireHead(source, brought: brought)
      return try write(model, source, paths, arguments, console)
    }
  }

  private static func write(
    _ model: any StoredModel, _ source: String, _ paths: [String], _ arguments: ParsedArguments,
    _ console: Console
  ) throws -> ExitCode {
    let directory = try arguments.value(output)
    let chosen = try ModelOptions.format(arguments)
    let dtype = arguments[dtype]?.dtype
    // A quantised base is written as numbers, all of it, or quantised anew.
    model.dequantize()
    if let chosen { model.quantize(QuantizationOptions(chosen), dtype: dtype) }
    // Every written weight, in the type in which it is written.
    let written = try ModelDirectoryWriter(
      model: model, source: source, dtype: dtype, format: chosen,
      shardLimit: ShardOptions.limit(arguments)
    ).write(directory) { path, tensor in
      guard !arguments[safe] || tensor.isAllFinite else {
        throw AdapterError.notFinite(module: path, adapter: paths.joined(separator: ", "))
      }
    }
    if arguments[json] {
      console.write([
        "output": .string(directory), "tensors": .integer(written.tensors),
        "parameters": .integer(written.parameters),
      ])
    } else {
      console.write("\(directory): \(written.tensors) tensors\n")
    }
    return .done
  }
}
