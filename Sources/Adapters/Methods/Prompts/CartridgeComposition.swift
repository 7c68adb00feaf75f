import Checkpoints
import JSONValues
import Tensors

/// Writes several cartridges one behind the other as one, as PEFT's function of this name.
///
/// Tokens of the first one that are not trained stay so; those of the others are trained then. Keys keep the
/// rotary positions that each cartridge was made with.
///
/// PEFT 0.21.2 drops the modules that cartridges train whole and still lists them, so that its file cannot be
/// used; here such cartridges are refused.
///
/// - Parameters:
///   - directories: Adapter directories of cartridges for one model, at least two.
///   - output: A directory that does not exist or is empty.
/// - Throws: ``AdapterError`` when they are no cartridges or do not fit together, `CheckpointError` or
///   `JSONError` when a file cannot be read or written.
/// - Note: Source: Eyuboglu et al. 2025, arXiv 2506.06266.
public func composeCartridgeAdapters(_ directories: [String], to output: String) throws {
  guard directories.count > 1 else {
    throw AdapterError.configuration(
      field: "cartridges to compose", expected: "at least 2", actual: "\(directories.count)")
  }
  var made: CartridgeConfig?
  var parts: [Tensor] = []
  for directory in directories {
    let file = try AdapterFile(directory)
    guard let config = file.configuration as? CartridgeConfig else {
      throw AdapterError.file(
        path: file.path,
        reason:
          "peft_type is \(type(of: file.configuration).type), expected \(CartridgeConfig.type)")
    }
    guard config.modulesToSave.isEmpty else {
      throw AdapterError.file(
        path: file.path, reason: "modules_to_save cannot be composed, expected none")
    }
    var settings = config.settings
    settings.tokenCount = made?.settings.tokenCount ?? settings.tokenCount
    guard settings == (made ?? config).settings, config.taskType == (made ?? config).taskType else {
      throw AdapterError.file(
        path: file.path, reason: "it is for another model than \(directories[0])")
    }
    made = made ?? config
    let names = file.weights.entries.map(\.name)
    guard names == [promptKey], let entry = file.weights[promptKey] else {
      throw AdapterError.keys(
        path: file.weights.path, missing: names.contains(promptKey) ? [] : [promptKey],
        unexpected: names.filter { $0 != promptKey })
    }
    let width = parts.first?.size(1) ?? entry.shape.last ?? 0
    guard entry.shape == [config.tokenCount, width] else {
      throw AdapterError.wrongShape(
        path: file.weights.path, key: promptKey, expected: [config.tokenCount, width],
        actual: entry.shape)
    }
    parts.append(try file.weights.tensor(entry))
  }
  guard var made else { return }
  let composed = Tensor.concatenated(parts.map { $0.to(parts[0].dtype) })
  made.settings.tokenCount = composed.size(0)
  try makeParentDirectory(of: output)
  let target = try AtomicDirectory(path: output)
  try SafetensorsWriter.save(
    target.path(of: "adapter_model.safetensors"), tensors: [(promptKey, composed)])
  try AtomicFile.write(
    path: target.path(of: "adapter_config.json"),
    text: made.json.serialized(indent: 2, sortedKeys: true))
  try ModelCard(of: made).write(to: target.temporaryPath)
  try target.commit()
}
