import Checkpoints
import JSONValues
import Tensors

/// LoRA adapters in the files of MLX: `adapters.safetensors` and `adapter_config.json`.
///
/// A layer computes W x + scale B^T A^T x with `lora_a` [inputs, rank] and `lora_b` [rank, outputs];
/// with DoRA its rows get the lengths `m`. One rank, one scale and one list of layers inside a block
/// serve the whole adapter, which is on the last `num_layers` blocks.
public enum MLXAdapter {
  static let weightsName = "adapters.safetensors"
  static let configurationName = "adapter_config.json"

  /// What was written.
  public struct Summary: Sendable, Equatable {
    /// The number of layers.
    public let layerCount: Int
    /// `num_layers` of the file.
    public let blockCount: Int
    /// `lora_parameters.rank` of the file.
    public let rank: Int
    /// `lora_parameters.scale` of the file.
    public let scale: Double
  }

  /// Writes an adapter directory, which appears only when it is whole.
  ///
  /// Layers of a smaller rank get zeros, and B of layers of another scale takes up the difference.
  ///
  /// - Parameters:
  ///   - adapter: The adapter.
  ///   - blockCount: Blocks of the base.
  ///   - directory: A directory that does not exist or is empty.
  /// - Returns: What was written.
  /// - Throws: ``AdapterError/file(path:reason:)`` that names what MLX has no place for, or
  ///   `CheckpointError` when it cannot be written.
  @discardableResult
  public static func write(
    _ adapter: LowRankAdapter, blockCount: Int, to directory: String
  ) throws -> Summary {
    let plan = try Plan(adapter, blockCount: blockCount)
    try makeParentDirectory(of: directory)
    let output = try AtomicDirectory(path: directory)
    try SafetensorsWriter.save(
      output.path(of: weightsName), tensors: plan.tensors, metadata: [("format", "mlx")])
    var configuration = JSONObject([
      ("fine_tune_type", adapter.hasMagnitudes ? "dora" : "lora"),
      (
        "lora_parameters",
        [
          "rank": .integer(plan.summary.rank), "scale": .number(plan.summary.scale),
          "dropout": .number(adapter.configuration.dropout),
          "keys": .array(plan.keys.map(JSON.string)),
        ]
      ), ("num_layers", .integer(plan.summary.blockCount)),
    ])
    configuration["model"] = adapter.configuration.baseModel.map(JSON.string)
    try AtomicFile.write(
      path: output.path(of: configurationName),
      text: JSON.object(configuration).serialized(indent: 4, sortedKeys: true) + "\n")
    try output.commit()
    return plan.summary
  }

  /// What the files will hold.
  private struct Plan {
    let tensors: [(name: String, tensor: Tensor)]
    let keys: [String]
    let summary: Summary

    init(_ adapter: LowRankAdapter, blockCount: Int) throws {
      func refuse(_ reason: String) -> AdapterError {
        .file(
          path: adapter.source,
          reason: "\(reason); merge the adapter (graft merge) and use the model instead")
      }
      let variant = adapter.hasMagnitudes ? nil : adapter.reasonAgainstPlainFactors
      if let reason = variant { throw refuse(reason) }
      var magnitudes: [String: Tensor] = [:]
      for (key, tensor) in adapter.others {
        guard let path = Self.layer(ofMagnitude: key) else {
          throw refuse("an MLX adapter has no place for \(key)")
        }
        magnitudes[path] = tensor
      }
      let rank = adapter.layers.map(\.update.rank).max() ?? 0
      let scale = adapter.layers.map(\.update.scale).mostFrequent ?? 1
      var tensors: [(name: String, tensor: Tensor)] = []
      var keys: Set<String> = []
      var first = blockCount
      for layer in adapter.layers {
        guard let (block, key) = layer.place, block < blockCount, layer.isMatrix else {
          throw refuse("\(layer.path) is no linear layer of a block as MLX counts them")
        }
        keys.insert(key)
        first = min(first, block)
        let (a, b) = layer.update.padded(toRank: rank, scale: scale)
        tensors.append((layer.path + ".lora_a", a.transposed().contiguous()))
        tensors.append((layer.path + ".lora_b", b.transposed().contiguous()))
        if adapter.hasMagnitudes {
          guard let lengths = magnitudes[layer.path] else {
            throw refuse("\(layer.path) has no lora_magnitude_vector beside layers that have one")
          }
          tensors.append((layer.path + ".m", lengths.reshaped([-1])))
        }
      }
      self.tensors = tensors
      self.keys = keys.sorted()
      summary = Summary(
        layerCount: adapter.layers.count, blockCount: blockCount - first, rank: rank, scale: scale)
    }

    /// The layer whose DoRA lengths a key of PEFT's files holds, or nil for another key.
    private static func layer(ofMagnitude key: String) -> String? {
      let plain = key.hasPrefix(keyPrefix) ? key.dropFirst(keyPrefix.count) : key[...]
      for suffix in [".lora_magnitude_vector.weight", ".lora_magnitude_vector"]
      where plain.hasSuffix(suffix) {
        return String(plain.dropLast(suffix.count))
      }
      return nil
    }
  }
}

extension LowRankAdapter.Layer {
  /// The block that a layer is in and its path there; nil for a layer outside the blocks, or of a model
  /// whose blocks MLX calls otherwise.
  fileprivate var place: (block: Int, key: String)? {
    let prefix = "model.layers."
    guard path.hasPrefix(prefix), !isEmbedding else { return nil }
    let words = path.dropFirst(prefix.count).split(separator: ".", maxSplits: 1)
    guard words.count == 2, let block = Int(words[0]) else { return nil }
    return (block, String(words[1]))
  }
}

extension LowRankUpdate {
  /// Factors of the same update with more rows of A, which are zeros, and another scale.
  func padded(toRank rank: Int, scale: Double) -> (a: Tensor, b: Tensor) {
    var (a, b) = (a, b)
    if scale != self.scale { b = b.to(.float32) * (self.scale / scale) }
    let missing = rank - self.rank
    if missing > 0 {
      a = .concatenated([a, .zeros([missing, a.size(1)], dtype: a.dtype)], dimension: 0)
      b = .concatenated([b, .zeros([b.size(0), missing], dtype: b.dtype)], dimension: 1)
    }
    return (a, b)
  }
}
