import JSONValues
import Layers
import Tensors

/// Configuration of low-rank updates made of vectors from a bank: y = x W^T + x A^T B^T.
///
/// A `[rank, inputSize]` and B `[outputSize, rank]` are cut into vectors of length v, B along its columns;
/// each is the mean of the k vectors of the bank `[vectorCount, v]` that have the largest of its logits,
/// weighted by their softmax. The bank is shared by all layers. A new adapter changes the outputs a little.
///
/// Files with only the k largest hold indices and weights instead of logits. They are for inference: what
/// goes on from one can only change the weights of the vectors that were chosen. A resumed run has its
/// logits from its checkpoint.
///
/// Source: Li, Han and Ji 2024, arXiv 2405.15179. Defaults are those of PEFT 0.21.2.
public struct VBLoRAConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "VBLORA"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Rank of the update.
  public var rank = 4
  /// Vectors of the bank.
  public var vectorCount = 256
  /// Length of each; must divide every layer's sizes.
  public var vectorLength = 256
  /// How many vectors are mixed, k.
  public var mixedCount = 2
  /// Whether files hold indices and weights of the k largest logits instead of all logits.
  public var savesOnlyMixed = false
  /// Share of inputs of A that are dropped in training.
  public var dropout = 0.0
  /// The bank starts uniform in ± this.
  public var bankBound = 0.02
  /// Logits start normal with this standard deviation.
  public var logitDeviation = 0.1

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - rank: Rank of the update, positive.
  ///   - vectorCount: Vectors of the bank.
  ///   - vectorLength: Length of each.
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(
    rank: Int = 4, vectorCount: Int, vectorLength: Int, targetModules: TargetModules? = nil
  ) {
    (self.rank, self.vectorCount, self.vectorLength) = (rank, vectorCount, vectorLength)
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .integer("num_vectors", \.vectorCount),
      .integer("vector_length", \.vectorLength), .integer("topk", \.mixedCount),
      .flag("save_only_topk_weights", \.savesOnlyMixed), .number("vblora_dropout", \.dropout),
      .number("init_vector_bank_bound", \.bankBound),
      .number("init_logits_std", \.logitDeviation), .targetModules, .excludeModules,
      .layersToTransform, .layersPattern, .bias, .modulesToSave, .fanInFanOut,
    ]
  }

  /// As for AdaLoRA, but for RoBERTa.
  ///
  /// - Parameter modelType: The `model_type` of `config.json`.
  /// - Returns: Layers, or nil when they have to be named.
  public static func defaultTargets(modelType: String) -> TargetModules? {
    DefaultTargets.vbLoRA[modelType]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    for (name, value) in [
      ("r", rank), ("num_vectors", vectorCount), ("vector_length", vectorLength),
    ] { try requirePositive(name, value) }
    try require(
      "topk", mixedCount > 0 && mixedCount <= vectorCount, "at least 1 and at most num_vectors",
      mixedCount)
    try requireShare("vblora_dropout", dropout)
    try require("init_vector_bank_bound", bankBound >= 0, "not negative", bankBound)
    try require("init_logits_std", logitDeviation >= 0, "not negative", logitDeviation)
  }
}

extension VBLoRAConfig: LayerMethod {
  func adapters(for sites: [LayerSite]) throws(AdapterError) -> LayerAdapters {
    guard let first = sites.first else { return LayerAdapters(layers: []) }
    let bank = first.uniform([vectorCount, vectorLength], bound: bankBound)
    var layers: [VBLoRAAdapter] = []
    for site in sites {
      for (size, what) in [(site.inputSize, "inputs"), (site.outputSize, "outputs")]
      where size % vectorLength != 0 {
        throw misfit(
          site, field: "vector_length", expected: "a divisor of its \(size) \(what)",
          actual: "\(vectorLength)")
      }
      layers.append(
        VBLoRAAdapter(
          bank: bank,
          a: site.normal(
            [rank, site.inputSize / vectorLength, vectorCount], deviation: logitDeviation),
          b: site.normal(
            [site.outputSize / vectorLength, rank, vectorCount], deviation: logitDeviation),
          mixedCount: mixedCount, dropout: dropout))
    }
    let logits = VBLoRALogits(self, zip(sites, layers).map { ($0.path, $1) })
    return LayerAdapters(
      layers: layers, shared: [AdapterParameter("vblora_vector_bank", bank)],
      training: savesOnlyMixed ? logits : nil, storage: savesOnlyMixed ? logits : nil)
  }
}

/// The logits of one layer.
final class VBLoRAAdapter: FactoredAdapter {
  let bank: Parameter  // [vectorCount, v]
  let a: Parameter  // [rank, in / v, vectorCount]
  let b: Parameter  // [out / v, rank, vectorCount]
  let mixedCount: Int
  let dropout: Double

  init(bank: Parameter, a: Parameter, b: Parameter, mixedCount: Int, dropout: Double) {
    (self.bank, self.a, self.b) = (bank, a, b)
    (self.mixedCount, self.dropout) = (mixedCount, dropout)
  }

  var parameters: [AdapterParameter] {
    [AdapterParameter("vblora_logits_A", a), AdapterParameter("vblora_logits_B", b)]
  }

  var shared: [AdapterParameter] { [AdapterParameter("vblora_vector_bank", bank)] }

  /// Vectors for logits `[..., vectorCount]`: `[..., v]`.
  private func mixed(_ logits: Tensor) -> Tensor {
    let (values, indices) = logits.largest(mixedCount)
    return (values.softmax().unsqueezed(-1) * bank.value.embedding(indices)).sum([-2])
  }

  func factors() -> (a: Tensor, b: Tensor) {
    let rank = a.value.size(0)
    return (
      mixed(a.value).reshaped([rank, -1]),
      mixed(b.value).transposed(1, 2).reshaped([-1, rank])
    )
  }
}

/// Files with the largest logits only, and what a resumed run needs beside them.
final class VBLoRALogits: AdapterStorage, AdapterTraining {
  private let configuration: VBLoRAConfig
  private let layers: [(path: String, adapter: VBLoRAAdapter)]

  init(_ configuration: VBLoRAConfig, _ layers: [(path: String, adapter: VBLoRAAdapter)]) {
    (self.configuration, self.layers) = (configuration, layers)
  }

  private static let (indices, weights) = ("_topk_indices", "_topk_weights")

  func stored(_ tensors: [(key: String, tensor: Tensor)]) -> [(key: String, tensor: Tensor)] {
    let count = configuration.vectorCount
    let type: DType = count < 1 << 8 ? .uint8 : count < 1 << 15 ? .int16 : .int32
    return tensors.flatMap { key, tensor -> [(key: String, tensor: Tensor)] in
      guard key.contains("vblora_logits_") else { return [(key, tensor)] }
      let mixed = configuration.mixedCount
      let (values, indices) = tensor.detached().largest(mixed)
      return [
        (key + Self.indices, indices.to(type)),
        (key + Self.weights, values.softmax().narrowed(-1, 0..<mixed - 1).contiguous()),
      ]
    }
  }

  func restored(
    _ tensors: [String: Tensor], _ configuration: any AdapterConfiguration
  ) throws(AdapterError) -> [String: Tensor] {
    var result = tensors
    for (key, found) in tensors where key.hasSuffix(Self.indices) {
      let name = String(key.dropLast(Self.indices.count))
      guard let first = tensors[name + Self.weights] else { continue }
      let indices = found.to(.int64)
      let (mixed, leading) = (self.configuration.mixedCount, Array(indices.shape.dropLast()))
      guard indices.shape == leading + [mixed], first.shape == leading + [mixed - 1],
        indices.count == 0
          || (indices.min().item() >= 0
            && indices.max().item() < Double(self.configuration.vectorCount))
      else {
        throw .configuration(
          field: name,
          expected: "indices and weights of topk \(mixed) of "
            + "num_vectors \(self.configuration.vectorCount)",
          actual: "\(indices.shape) and \(first.shape)")
      }
      // Rounding may leave the last one just below zero.
      let last = (-first.sum([-1], keepDimensions: true) + 1).clamped(lower: 0)
      let values = Tensor.concatenated([first, last], dimension: -1).logarithm()
      result[name] = Tensor.full(
        leading + [self.configuration.vectorCount], -.infinity, dtype: values.dtype
      ).scattering(-1, indices, values)
      result[name + Self.weights] = nil
      result[key] = nil
    }
    return result
  }

  private var logits: [(name: String, parameter: Parameter)] {
    layers.flatMap { path, adapter in
      adapter.parameters.map { (joined(path, $0.name), $0.parameter) }
    }
  }

  var state: [(name: String, tensor: Tensor)] { logits.map { ($0.name, $0.parameter.value) } }

  func restore(_ state: [String: Tensor]) {
    withoutGradients {
      for (name, parameter) in logits {
        if let saved = state[name] { parameter.value.copyInPlace(from: saved) }
      }
    }
  }
}
