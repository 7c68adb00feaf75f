import Checkpoints
import Foundation
import JSONValues
import Layers
import Models
import Quantization
import Tensors

/// Writes a model as a Hugging Face directory that takes everything but weights from another one.
struct ModelDirectoryWriter {
  let model: any StoredModel
  /// The directory that the model was opened from.
  let source: String
  /// Type of the written parameters; nil for their own.
  let dtype: DType?
  /// How the model's quantised weights are kept; nil when it has none.
  let format: WeightFormat?
  /// The most bytes of weights in one file.
  var shardLimit = ShardedSafetensorsWriter.defaultShardLimit

  /// Writes the directory, which appears only when it is whole.
  ///
  /// - Parameters:
  ///   - directory: The new directory.
  ///   - check: Called with the name and numbers of every parameter as it is written.
  /// - Returns: Tensors written and the numbers that they stand for.
  /// - Throws: `CheckpointError` when it cannot be written, `QuantizationError` when a quantised
  ///   weight is not finite, and what `check` throws.
  func write(
    _ directory: String, check: (String, Tensor) throws -> Void = { _, _ in }
  ) throws -> (tensors: Int, parameters: Int) {
    try makeParentDirectory(of: directory)
    let target = try AtomicDirectory(path: directory)
    let written = try writeFiles(to: target.temporaryPath, check: check)
    try target.commit()
    return written
  }

  /// Writes the files into a directory that has others, the configuration last.
  ///
  /// - Parameters:
  ///   - directory: Where; files of the same names are replaced.
  ///   - check: Called with the name and numbers of every parameter as it is written.
  /// - Returns: Tensors written and the numbers that they stand for.
  /// - Throws: As ``write(_:check:)``.
  @discardableResult
  func writeFiles(
    to directory: String, check: (String, Tensor) throws -> Void = { _, _ in }
  ) throws -> (tensors: Int, parameters: Int) {
    try makeDirectory(directory)
    try copyCompanions(to: directory)
    let (entries, count) = try entries()
    let tensors = try entries.map { entry in
      guard let stored = SafetensorsDType(entry.dtype) else {
        throw CheckpointError.invalidTensor(
          path: directory, tensor: entry.name, reason: "its type is \(entry.dtype)")
      }
      return SafetensorsWriter.Tensor(name: entry.name, dtype: stored, shape: entry.shape)
    }
    let byName = Dictionary(entries.map { ($0.name, $0) }, uniquingKeysWith: { $1 })
    let writer = try ShardedSafetensorsWriter(
      directory: directory, tensors: tensors, shardLimit: shardLimit)
    // Each is changed and checked as it is written, so that one at a time is in memory.
    try writer.write { name in
      guard let entry = byName[name] else { return Tensor.zeros([0]) }
      let tensor = entry.written
      if entry.isParameter { try check(name, tensor) }
      return tensor
    }
    try writer.removeOthers()
    try writeConfiguration(to: "\(directory)/config.json")
    return (entries.count, count)
  }

  /// A tensor to write.
  private struct Entry {
    let name: String
    let dtype: DType
    let isTransposed: Bool
    let isParameter: Bool
    let tensor: Tensor

    var shape: [Int] { isTransposed ? tensor.shape.reversed() : tensor.shape }

    var written: Tensor {
      let tensor = tensor.to(dtype)
      return isTransposed ? tensor.transposed().contiguous() : tensor
    }
  }

  /// Every tensor to write, and the numbers that they stand for.
  private func entries() throws -> ([Entry], count: Int) {
    var entries: [Entry] = []
    var count = 0
    let (transposed, copied) = (model.pathsTransposedInFiles, model.copiedWeightPaths)
    for (path, parameter) in model.parameters() where !copied.contains(path) {
      for name in model.namesInFiles(path) {
        entries.append(
          Entry(
            name: name, dtype: dtype ?? parameter.value.dtype,
            isTransposed: transposed.contains(path), isParameter: true, tensor: parameter.value))
      }
      count += parameter.value.count
    }
    for (path, module) in model.modules() {
      for (name, tensor) in module.storedTensors {
        // Scales of a weight with NaN or infinity are so themselves.
        guard !tensor.dtype.isFloatingPoint || tensor.isAllFinite else {
          throw QuantizationError.notFinite(weight: path + ".weight")
        }
        entries.append(
          Entry(
            name: path.isEmpty ? name : path + "." + name, dtype: tensor.dtype,
            isTransposed: false, isParameter: false, tensor: tensor))
      }
      count += module.storedCount
    }
    return (entries, count)
  }

  /// What is written anew, and files of a run whose directory a model is in.
  private static let notCompanions: Set = [
    "config.json", TrainRecipe.fileName, "state.json", LabelFile.name,
  ]

  /// The folder of named chat templates.
  private static let templateFolder = "additional_chat_templates"

  /// Everything of the source but weights and configuration.
  private func copyCompanions(to target: String) throws {
    let files = try FileManager.default.contentsOfDirectory(atPath: source)
    for name in files.sorted() {
      let isCompanion =
        name.hasSuffix(".json") || name.hasSuffix(".jinja") || name.hasSuffix(".txt")
        || name.hasSuffix(".model") || name == Self.templateFolder
      guard isCompanion, !Self.notCompanions.contains(name), !name.hasSuffix(".index.json") else {
        continue
      }
      do {
        try? FileManager.default.removeItem(atPath: "\(target)/\(name)")
        try FileManager.default.copyItem(atPath: "\(source)/\(name)", toPath: "\(target)/\(name)")
      } catch {
        throw CheckpointError.cannotWrite(
          path: "\(target)/\(name)", reason: error.localizedDescription)
      }
    }
  }

  /// Whole paths of linear layers that stayed dense, which every reader of the list understands in
  /// the same way; nil where that is the output head alone, as readers assume.
  private var skippedModules: [String]? {
    let dense = model.modules().filter { ($0.module as? Linear)?.projection is DenseProjection }
      .map(\.path)
    return dense.count == 1 && dense.first == model.outputHeadPath ? nil : dense
  }

  private func writeConfiguration(to path: String) throws {
    var object = try JSON.read(path: "\(source)/config.json").objectValue ?? JSONObject()
    if let dtype {
      // "torch_dtype" until transformers 4, "dtype" since; some files have both.
      for key in ["dtype", "torch_dtype"] where key == "dtype" || object[key] != nil {
        object[key] = .string(dtype.description)
      }
    }
    model.describe(&object)
    object["quantization_config"] = format.map {
      BitsAndBytesConfiguration($0, skippedModules: skippedModules).json
    }
    try AtomicFile.write(path: path, text: JSON.object(object).serialized(indent: 2) + "\n")
  }
}
