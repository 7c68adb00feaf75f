import Adapters
import Checkpoints
import CommandLineParsing
import Foundation
import JSONValues
import Layers
import Models
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
      adapters, output, dtype, safe, json, ModelOptions.model, ModelOptions.threads,
    ])

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    try arguments.require(ModelOptions.model, adapters, output)
    let paths = arguments.values(adapters)
    let directory = try arguments.value(output)
    try ModelSource.setThreads(arguments)
    let source = try ModelSource.directory(of: try arguments.value(ModelOptions.model))
    let model = try AutoModelForCausalLM.fromPretrained(source, dtype: nil)
    for path in paths {
      let peft = try PeftModel.fromPretrained(model, path)
      try peft.mergeAndUnload()
    }
    try makeParentDirectory(of: directory)
    let target = try AtomicDirectory(path: directory)
    try copyCompanions(from: source, to: target.temporaryPath)
    let untied =
      model.head.projection.denseWeight().isEqual(
        to: model.model.embedding.weight.value) == false
    let chosen = arguments[dtype]?.dtype
    var tensors: [(name: String, tensor: Tensor)] = []
    for (path, parameter) in model.parameters() {
      // A tied head is written once, as the embeddings.
      if path == "lm_head.weight" && !untied && model.configuration.tiesEmbeddings { continue }
      let written = chosen.map { parameter.value.to($0) } ?? parameter.value
      // Every written weight, in the type in which it is written.
      guard !arguments[safe] || written.isAllFinite else {
        throw AdapterError.notFinite(module: path, adapter: paths.joined(separator: ", "))
      }
      tensors.append((path, written))
    }
    try SafetensorsWriter.save(target.path(of: "model.safetensors"), tensors: tensors)
    try writeConfiguration(
      from: source, to: target.path(of: "config.json"), dtype: chosen,
      untied: untied && model.configuration.tiesEmbeddings)
    try target.commit()
    if arguments[json] {
      console.write([
        "output": .string(directory), "tensors": .integer(tensors.count),
        "parameters": .integer(tensors.reduce(0) { $0 + $1.tensor.count }),
      ])
    } else {
      console.write("\(directory): \(tensors.count) tensors\n")
    }
    return .done
  }

  /// Everything of the model directory but weights and configuration.
  private static func copyCompanions(from source: String, to target: String) throws {
    let files = try FileManager.default.contentsOfDirectory(atPath: source)
    for name in files.sorted() {
      let isCompanion =
        name.hasSuffix(".json") || name.hasSuffix(".jinja") || name.hasSuffix(".txt")
        || name.hasSuffix(".model")
      guard isCompanion, name != "config.json", !name.hasSuffix(".index.json") else { continue }
      do {
        try FileManager.default.copyItem(atPath: "\(source)/\(name)", toPath: "\(target)/\(name)")
      } catch {
        throw CheckpointError.cannotWrite(
          path: "\(target)/\(name)", reason: error.localizedDescription)
      }
    }
  }

  private static func writeConfiguration(
    from source: String, to path: String, dtype: DType?, untied: Bool
  ) throws {
    var object = try JSON.read(path: "\(source)/config.json").objectValue ?? JSONObject()
    if let dtype {
      object[object["torch_dtype"] == nil ? "dtype" : "torch_dtype"] = .string(dtype.description)
    }
    if untied { object["tie_word_embeddings"] = false }
    try AtomicFile.write(path: path, text: JSON.object(object).serialized(indent: 2) + "\n")
  }
}
