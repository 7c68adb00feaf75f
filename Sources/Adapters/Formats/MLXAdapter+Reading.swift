import Checkpoints
import Foundation
import JSONValues
import Tensors

extension MLXAdapter {
  /// Whether a directory holds an adapter in MLX's files.
  ///
  /// - Parameter directory: Any path.
  /// - Returns: Whether `adapters.safetensors` is there.
  public static func isPresent(in directory: String) -> Bool {
    FileManager.default.fileExists(atPath: "\(directory)/\(weightsName)")
  }

  /// Reads an adapter directory.
  ///
  /// - Parameter directory: `adapters.safetensors` and `adapter_config.json`.
  /// - Returns: The same adapter with PEFT's names, for `write(to:)`.
  /// - Throws: `CheckpointError`, `JSONError` or ``AdapterError/file(path:reason:)`` that names what is
  ///   wrong or has no place in PEFT's files.
  public static func read(_ directory: String) throws -> LowRankAdapter {
    let path = "\(directory)/\(configurationName)"
    let settings = try Settings(JSON.read(path: path), path: path)
    let file = try SafetensorsFile(path: "\(directory)/\(weightsName)")
    func refuse(_ reason: String) -> AdapterError { .file(path: file.path, reason: reason) }
    var layers: [String: [String: Tensor]] = [:]
    var order: [String] = []
    let parts = ["lora_a", "lora_b"] + (settings.isDoRA ? ["m"] : [])
    for (name, tensor) in try file.tensors() {
      guard let dot = name.lastIndex(of: "."),
        case let part = String(name[name.index(after: dot)...]),
        parts.contains(part)
      else {
        throw refuse(
          "tensor \(name) is none of \(parts.joined(separator: ", ")), so that PEFT's files have no "
            + "place for it")
      }
      let layer = String(name[..<dot])
      guard !layer.hasSuffix("embed_tokens") else {
        throw refuse("\(name) changes embeddings, which is only converted for linear layers")
      }
      guard tensor.rank == (part == "m" ? 1 : 2), tensor.dtype.isFloatingPoint, tensor.count > 0
      else { throw refuse("tensor \(name) has shape \(tensor.shape) and type \(tensor.dtype)") }
      if layers[layer] == nil { order.append(layer) }
      layers[layer, default: [:]][part] = tensor
    }
    guard !order.isEmpty else { throw refuse("it holds no tensor") }
    order.sort { Self.precedes($0, $1) }
    var tensors: [(key: String, tensor: Tensor)] = []
    for layer in order {
      guard let a = layers[layer]?["lora_a"], let b = layers[layer]?["lora_b"] else {
        throw refuse("\(layer) has only one of lora_a and lora_b")
      }
      guard a.size(1) == settings.rank, b.size(0) == settings.rank else {
        throw refuse(
          "\(layer): lora_a \(a.shape) and lora_b \(b.shape) are not of rank \(settings.rank), as "
            + "\(configurationName) says (expected [inputs, \(settings.rank)] and "
            + "[\(settings.rank), outputs])")
      }
      let key = keyPrefix + layer
      tensors.append((key + ".lora_A.weight", a.transposed().contiguous()))
      tensors.append((key + ".lora_B.weight", b.transposed().contiguous()))
      guard settings.isDoRA else { continue }
      guard let lengths = layers[layer]?["m"], lengths.count == b.size(1) else {
        throw refuse("\(layer) has no m of \(b.size(1)) numbers, which DoRA needs")
      }
      tensors.append((key + ".lora_magnitude_vector", lengths))
    }
    var configuration = LoRAConfig(
      rank: settings.rank, alpha: settings.scale * Double(settings.rank),
      dropout: settings.dropout)
    configuration.usesDoRA = settings.isDoRA
    configuration.baseModel = settings.baseModel
    configuration.selection = Self.selection(order)
    return try LowRankAdapter(configuration: configuration, tensors: tensors, source: file.path)
  }

  /// The layers as PEFT says them: names inside blocks, with the blocks' numbers where the first ones
  /// have none, or whole paths where blocks differ.
  private static func selection(_ layers: [String]) -> TargetSelection {
    let prefix = "model.layers."
    var places: [Int: Set<String>] = [:]
    for layer in layers {
      let words = layer.dropFirst(prefix.count).split(separator: ".", maxSplits: 1)
      guard layer.hasPrefix(prefix), words.count == 2, let block = Int(words[0]) else {
        return TargetSelection(.names(layers))
      }
      places[block, default: []].insert(String(words[1]))
    }
    let blocks = places.keys.sorted()
    guard Set(places.values).count == 1, let keys = places.values.first, let first = blocks.first,
      let last = blocks.last, blocks.count == last - first + 1
    else { return TargetSelection(.names(layers)) }
    var selection = TargetSelection(.names(keys.sorted()))
    if first > 0 { selection.layersToTransform = blocks }
    return selection
  }

  /// The order of blocks by number, of layers in one by name.
  private static func precedes(_ left: String, _ right: String) -> Bool {
    let (left, right) = (left.split(separator: "."), right.split(separator: "."))
    for (a, b) in zip(left, right) where a != b {
      if let a = Int(a), let b = Int(b) { return a < b }
      return a < b
    }
    return left.count < right.count
  }

  /// What `adapter_config.json` says.
  private struct Settings {
    let isDoRA: Bool
    let rank: Int
    let scale: Double
    let dropout: Double
    let baseModel: String?

    init(_ json: JSON, path: String) throws(AdapterError) {
      func wrong(_ key: String, _ expected: String, _ found: JSON?) -> AdapterError {
        .file(
          path: path,
          reason: "\(key) is \(found.map { String($0.serialized().prefix(60)) } ?? "missing"), "
            + "expected \(expected)")
      }
      let kind = json["fine_tune_type"]
      guard let name = (kind ?? "lora").stringValue, name == "lora" || name == "dora" else {
        throw wrong("fine_tune_type", "\"lora\" or \"dora\"", kind)
      }
      isDoRA = name == "dora"
      guard let parameters = json["lora_parameters"], parameters.objectValue != nil else {
        throw wrong("lora_parameters", "an object", json["lora_parameters"])
      }
      guard let rank = parameters["rank"]?.intValue, (1...1 << 20).contains(rank) else {
        throw wrong("lora_parameters.rank", "a positive whole number", parameters["rank"])
      }
      guard let scale = parameters["scale"]?.doubleValue, scale.isFinite else {
        throw wrong("lora_parameters.scale", "a number", parameters["scale"])
      }
      let dropout = parameters["dropout"] ?? 0.0
      guard let share = dropout.doubleValue, (0..<1).contains(share) else {
        throw wrong("lora_parameters.dropout", "a number in 0 ..< 1", dropout)
      }
      (self.rank, self.scale, self.dropout) = (rank, scale, share)
      baseModel = json["model"]?.stringValue
    }
  }
}
