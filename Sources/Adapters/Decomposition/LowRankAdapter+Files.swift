import Checkpoints
import JSONValues
import Tensors

extension LowRankAdapter {
  /// Reads an adapter directory, which need not be beside its base.
  ///
  /// - Parameter directory: PEFT's `adapter_config.json` and `adapter_model.safetensors`.
  /// - Throws: `CheckpointError`, `JSONError` or ``AdapterError`` when it is no LoRA adapter,
  ///   ``DecompositionError`` when it means something only beside its base.
  public init(directory: String) throws {
    let opened = try AdapterFile(directory)
    guard let lora = opened.configuration as? LoRAConfig else {
      throw AdapterError.file(
        path: opened.path,
        reason:
          "peft_type is \(type(of: opened.configuration).type), expected \(LoRAConfig.type): only "
          + "its updates are products of two factors")
    }
    let file = opened.weights
    try self.init(
      configuration: lora, tensors: file.tensors().map { ($0.name, $0.tensor) }, source: file.path)
    for layer in layers where !layer.update.a.isAllFinite || !layer.update.b.isAllFinite {
      throw DecompositionError.notFinite(what: "\(file.path): \(layer.path)")
    }
    for (key, tensor) in others where tensor.dtype.isFloatingPoint && !tensor.isAllFinite {
      throw DecompositionError.notFinite(what: "\(file.path): \(key)")
    }
  }

  /// Writes an adapter directory with a model card, which appears only when it is whole.
  ///
  /// - Parameter directory: A directory that does not exist or is empty.
  /// - Throws: `CheckpointError` when it cannot be written.
  public func write(to directory: String) throws {
    try makeParentDirectory(of: directory)
    let output = try AtomicDirectory(path: directory)
    try SafetensorsWriter.save(
      output.path(of: "adapter_model.safetensors"), tensors: tensors.map { ($0.key, $0.tensor) })
    try AtomicFile.write(
      path: output.path(of: "adapter_config.json"),
      text: configuration.json.serialized(indent: 2, sortedKeys: true))
    try ModelCard(of: configuration).write(to: output.temporaryPath)
    try output.commit()
  }
}
