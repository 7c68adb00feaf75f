import JSONValues
import Layers
import Tensors

/// Configuration of Super-Tuning: D has numbers at the places of the weight's largest elements, and
/// with a rank those of a LoRA as well ("Supra").
///
/// Source: "Super-Tuning" 2026, arXiv 2607.09287. Defaults are those of PEFT 0.21.2.
public struct SuperTuningConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "SUPERTUNING"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Share of the weight that gets no number of its own.
  public var sparsity = 0.99
  /// Whether the largest elements get one, else the smallest.
  public var selectsLargest = true
  /// Rank of the LoRA beside them; nil for none.
  public var rank: Int?
  /// Numerator of the LoRA's scale alpha / rank; nil for twice the rank.
  public var alpha: Double?
  /// Share of inputs of the LoRA that are dropped in training.
  public var dropout = 0.0
  /// Whether a fresh adapter changes nothing; else its numbers are random.
  public var startsAtIdentity = true
  /// Whether files say which elements they are; else a reader finds them anew, which needs the very
  /// same weight.
  public var savesIndices = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .number("sparsity", \.sparsity), .flag("select_top", \.selectsLargest),
      .integer("r", \.rank), alphaField, .number("lora_dropout", \.dropout),
      .flag("init_weights", \.startsAtIdentity),
      .flag("save_precomputed_indices", \.savesIndices), .targetModules, .modulesToSave,
    ]
  }

  /// Written as PEFT fills it in.
  private static var alphaField: ConfigurationField<Self> {
    ConfigurationField(
      "lora_alpha",
      read: { (object, reader) throws(AdapterError) in
        object.alpha = try reader.number("lora_alpha")
      },
      write: { $0.loraAlpha.map(JSON.plain) ?? .null })
  }

  private var loraAlpha: Double? { rank.map { alpha ?? Double(2 * $0) } ?? alpha }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requireShare("sparsity", sparsity)
    if let rank { try requirePositive("rank (r)", rank) }
    try require("lora_alpha", alpha == nil || rank != nil, "r beside it", alpha ?? 0)
    try requireFinite("lora_alpha", alpha ?? 0)
    try requireShare("lora_dropout", dropout)
  }
}

extension SuperTuningConfig: LayerMethod {
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let room = site.inputSize * site.outputSize
    let count = Int(Double(room) * (1 - sparsity))
    guard count > 0 else {
      throw misfit(
        site, field: "sparsity", expected: "at most \(1 - 1 / Double(room))", actual: "\(sparsity)")
    }
    // In the weight's own type: which of equal elements come first is then as in PEFT.
    let sizes = site.base.denseWeight().detached().absolute().reshaped([-1])
    let places = (selectsLargest ? sizes.largest(count) : sizes.smallest(count)).indices
    var lora: LoRAAdapter?
    if let rank {
      let shape = [site.outputSize, rank]
      lora = LoRAAdapter(
        a: site.linearUniform([rank, site.inputSize]),
        b: startsAtIdentity ? site.zeros(shape) : site.linearUniform(shape),
        scale: (loraAlpha ?? 0) / Double(rank), dropout: dropout)
    }
    return SuperTuningAdapter(
      values: startsAtIdentity ? site.zeros([count]) : site.normal([count]),
      indices: Parameter(places.to(.int32)), shape: [site.outputSize, site.inputSize],
      savesIndices: savesIndices, lora: lora)
  }
}

final class SuperTuningAdapter: LayerAdapter {
  let values: Parameter  // [count]
  let indices: Parameter  // int32 [count], row by row through the weight
  let shape: [Int]
  let savesIndices: Bool
  let lora: LoRAAdapter?

  init(
    values: Parameter, indices: Parameter, shape: [Int], savesIndices: Bool, lora: LoRAAdapter?
  ) {
    self.values = values
    self.indices = indices
    self.shape = shape
    self.savesIndices = savesIndices
    self.lora = lora
  }

  var parameters: [AdapterParameter] {
    [AdapterParameter("supertuning_values", values)]
      + (savesIndices ? [AdapterParameter("supertuning_indices", indices, isTrained: false)] : [])
      + (lora?.parameters ?? []).map { AdapterParameter("supertuning_" + $0.name, $0.parameter) }
  }

  private func sparseDelta() -> Tensor {
    sparseMatrix(values.value, at: indices.value.to(.int64), shape: shape)
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let delta = sparseDelta()
    let sum = y.adding(wide: x.to(delta.dtype).linear(delta))
    return lora?.output(sum, input: x, base: base, context) ?? sum
  }

  func merge(into layer: inout MergedLayer) {
    layer.weight.addInPlace(sparseDelta().detached())
    lora?.merge(into: &layer)
  }

  func didLoad() throws(AdapterError) {
    let size = shape.reduce(1, *)
    guard let wrong = outlier(indices.value, below: size) else { return }
    throw .configuration(
      field: "supertuning_indices", expected: "0 ..< \(size)", actual: "\(wrong)")
  }
}
