import JSONValues
import Layers
import Tensors

/// Configuration of Hadamard high-rank adaptation: D = W ∘ (B A) with A `[rank, inputSize]` and B
/// `[outputSize, rank]`.
///
/// Several adapters add up, each over the weight without the others. An embedding's table is W^T, a
/// convolution's kernels are W `[out, in · kernel]`; for both PEFT has one start only, A zero and B
/// normal for the one, the standard one for the other, unless `init_weights` is false.
///
/// PEFT 0.21.2 heeds `rank_pattern` in a second adapter only. Files of both kinds are read, as nothing
/// but the tensors depends on the rank; PEFT cannot open one whose layers' ranks differ.
///
/// Source: Huang et al. 2025, "HiRA", ICLR. Defaults are those of PEFT 0.21.2.
public struct HiraConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "HIRA"

  /// How A and B start.
  public enum Initialization: Equatable, Sendable, CaseIterable {
    /// A uniform in ±1/sqrt(inputSize), B zero.
    case standard
    /// A normal with standard deviation 1/rank, B zero.
    case gaussian
    /// Both standard normal, so that the output changes at once.
    case random
  }

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Rank of B A.
  public var rank = 32
  /// Ranks of single layers by an expression for the end of their path; the first match counts.
  public var rankPattern: [PathPattern<Int>] = []
  /// Share of inputs that are dropped in training.
  public var dropout = 0.0
  /// How A and B start.
  public var initialization = Initialization.standard

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .pattern("rank_pattern", \.rankPattern),
      .number("hira_dropout", \.dropout),
      .spelled(
        "init_weights", \.initialization,
        [(.standard, true), (.random, false), (.gaussian, "gaussian")]),
      .off("fan_in_fan_out", false, ignoring: true), .targetModules, .excludeModules,
      .layersToTransform,
      .layersPattern, .modulesToSave,
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("rank (r)", rank)
    try requirePositive("rank_pattern", rankPattern)
    try requireShare("hira_dropout", dropout)
  }
}

extension HiraConfig: LayerMethod {
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let rank = try rankPattern.value(for: site.path, default: rank)
    let (left, right) = ([site.outputSize, rank], [rank, site.inputSize])
    let (a, b) =
      switch initialization {
      case .standard: (site.linearUniform(right), site.zeros(left))
      case .gaussian: (site.normal(right, deviation: 1 / Double(rank)), site.zeros(left))
      case .random: (site.normal(right), site.normal(left))
      }
    return HiraAdapter(a: a, b: b, dropout: dropout, base: site.base)
  }
}

final class HiraAdapter: DeltaAdapter {
  let a, b: Parameter  // [rank, in], [out, rank]
  let dropout: Double
  let base: any LinearProjection

  init(a: Parameter, b: Parameter, dropout: Double, base: any LinearProjection) {
    (self.a, self.b) = (a, b)
    self.dropout = dropout
    self.base = base
  }

  var parameters: [AdapterParameter] {
    [
      AdapterParameter("hira_A", a, freeDimension: 0),
      AdapterParameter("hira_B", b, freeDimension: 1),
    ]
  }

  func didLoad() throws(AdapterError) { try requireEqualRanks(a, b) }

  func delta() -> Tensor {
    base.denseWeight().detached().to(a.value.dtype) * b.value.matrixProduct(a.value)
  }
}
