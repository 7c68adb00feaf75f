import Adapters
import Checkpoints
import CommandLineParsing
import Foundation
import JSONValues
import Models
import Quantization
import Tensors

/// What `graft export` writes.
enum ExportFormat: String, CaseIterable, OptionValue {
  /// A model as a GGUF file, by the type of its matrices.
  case f32
  case f16
  case bf16
  case q80 = "q8_0"
  /// An adapter as a GGUF file.
  case ggufLoRA = "gguf-lora"
  /// An adapter in MLX's files.
  case mlx
  /// An adapter in PEFT's files.
  case peft

  /// How matrices of a GGUF model are stored; nil for the others.
  var storage: GGUFExporter.Storage? { GGUFExporter.Storage(rawValue: rawValue) }
}

/// `graft export`.
enum ExportCommand: Verb {
  static let format = Option<ExportFormat>(
    "format", default: nil,
    help: "GGUF model by its matrices' type, GGUF adapter, or adapter of MLX or PEFT.")
  static let adapters = Option<String>(
    "adapter", default: nil,
    help: "Adapter directory; for a GGUF model it is merged, and there may be several.",
    isRepeated: true)
  static let output = Option<String>(
    "output", default: nil, help: "GGUF file, or adapter directory, to write.")
  static let storage = Option<GGUFExporter.Storage>(
    "storage", default: .f32, help: "Type of a GGUF adapter's factors.")
  static let json = Flag("json", help: "Print one JSON object.")

  static let specification = CommandSpecification(
    name: "export", summary: "Write a model or an adapter in another program's format",
    options: [format, ModelOptions.model, adapters, output, storage, json, ModelOptions.threads])

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    try arguments.require(format, output)
    let chosen = try arguments.value(format)
    try ModelSource.setThreads(arguments)
    let result: JSONObject
    if let storage = chosen.storage {
      result = try exportModel(storage, arguments, console)
    } else {
      result = try exportAdapter(chosen, arguments)
    }
    if arguments[json] {
      console.write(.object(result))
    } else {
      let words = result.filter { $0.key != "output" }.map { key, value in
        "\(key.replacingOccurrences(of: "_", with: " ")) \(value.stringValue ?? value.serialized())"
      }
      console.write("\(try arguments.value(output)): \(words.joined(separator: ", "))\n")
    }
    return .done
  }

  private static func exportModel(
    _ storage: GGUFExporter.Storage, _ arguments: ParsedArguments, _ console: Console
  ) throws -> JSONObject {
    try arguments.require(ModelOptions.model)
    let path = try arguments.value(output)
    let source = try ModelSource.directory(of: try arguments.value(ModelOptions.model))
    // What cannot be exported is said before anything is read or merged.
    _ = try GGUFLayerNames(AutoModelForCausalLM.configuration(of: source), path: source)
    let model = try AutoModelForCausalLM.fromPretrained(source, dtype: nil)
    try AdapterMerging.merge(arguments.values(adapters), into: model, safely: true)
    model.dequantize()
    try makeParentDirectory(of: path)
    let summary = try GGUFExporter(model, directory: source, storage: storage).write(to: path) {
      done, total in
      if console.isTerminal { console.redraw("\(done)/\(total) tensors") }
    }
    if console.isTerminal { console.redraw("") }
    if summary.isContextCut {
      console.log(
        "graft: context_length is \(summary.contextLength), the model's sliding window, as files of "
          + "architecture \(summary.architecture) cannot say windows")
    }
    return JSONObject([
      ("output", .string(path)), ("architecture", .string(summary.architecture)),
      ("format", .string(storage.rawValue)), ("tensors", .integer(summary.tensorCount)),
      ("parameters", .integer(summary.parameterCount)),
      ("context_length", .integer(summary.contextLength)),
    ])
  }

  private static func exportAdapter(
    _ format: ExportFormat, _ arguments: ParsedArguments
  ) throws -> JSONObject {
    try arguments.require(adapters, output)
    let names = arguments.values(adapters)
    guard names.count == 1 else {
      throw UsageError(
        "--format \(format.rawValue) takes one --adapter, found \(names.count); graft blend makes "
          + "one of several")
    }
    let path = try arguments.value(output)
    let directory = try HubNames.adapter(names[0])
    if format == .peft {
      try RankOptions.checkFree(path)
      let adapter = try MLXAdapter.read(directory)
      try adapter.write(to: path)
      return JSONObject([
        ("output", .string(path)), ("format", "peft"), ("layers", .integer(adapter.layers.count)),
      ])
    }
    try checkIsLoRA(directory)
    let adapter = try LowRankAdapter(directory: directory)
    guard let base = arguments[ModelOptions.model] ?? adapter.configuration.baseModel else {
      throw UsageError("--model is needed: the adapter does not name its base")
    }
    let source = try ModelSource.directory(of: base)
    let configuration = try AutoModelForCausalLM.configuration(of: source)
    if format == .mlx {
      try RankOptions.checkFree(path)
      let summary = try MLXAdapter.write(
        adapter, blockCount: configuration.layerCount, to: path)
      return JSONObject([
        ("output", .string(path)), ("format", "mlx"), ("layers", .integer(summary.layerCount)),
        ("num_layers", .integer(summary.blockCount)), ("rank", .integer(summary.rank)),
        ("scale", .number(summary.scale)),
      ])
    }
    let exported = try GGUFLoRA(adapter, names: GGUFLayerNames(configuration, path: source))
    try makeParentDirectory(of: path)
    let summary = try exported.write(to: path, storage: try arguments.value(storage))
    return JSONObject([
      ("output", .string(path)), ("architecture", .string(summary.architecture)),
      ("format", "gguf-lora"), ("layers", .integer(summary.layerCount)),
      ("alpha", .number(summary.alpha)),
    ])
  }

  /// Refuses another method with a way to the same result.
  private static func checkIsLoRA(_ directory: String) throws {
    let path = directory + "/adapter_config.json"
    let type = try JSON.read(path: path)["peft_type"]?.stringValue ?? "none"
    guard type == LoRAConfig.type else {
      throw AdapterError.file(
        path: path,
        reason: "peft_type is \(type), and other programs apply \(LoRAConfig.type) only; merge it "
          + "(graft merge --model M --adapter A --output MERGED) and export the merged model, or "
          + "make a LoRA of the difference (graft extract --base M --tuned MERGED --rank R "
          + "--output LORA) and export that")
    }
  }
}
