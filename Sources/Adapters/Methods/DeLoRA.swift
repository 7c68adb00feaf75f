import Layers
import Tensors

/// Configuration of decoupled low-rank adaptation: D = B diag(lambda / (r |a_i| |b_i|)) A diag(|w_j|),
/// with the rows a_i of A, the columns b_i of B and the columns w_j of the weight.
///
/// lambda, one trained number a layer, bounds the length of D, A and B give its direction; lengths below
/// 1e-4 count as that. The columns' lengths are those of the weight that the adapter was made on, and
/// stored.
///
/// Source: Bini et al. 2025, arXiv 2503.18225. Defaults are those of PEFT 0.21.2.
public struct DeloraConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "DELORA"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Rank of the update.
  public var rank = 8
  /// Where lambda starts.
  public var lambda = 15.0
  /// Share of inputs that are dropped in training; PEFT calls it `module_dropout`.
  public var dropout = 0.0
  /// Ranks of single layers by an expression for the end of their path; the first match counts.
  public var rankPattern: [PathPattern<Int>] = []
  /// Starts of lambda of single layers, likewise.
  public var lambdaPattern: [PathPattern<Double>] = []
  /// Whether a fresh adapter changes nothing: B is zero; else it is random too.
  public var startsAtIdentity = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .wholeNumber("delora_lambda", \.lambda),
      .number("module_dropout", \.dropout), .pattern("rank_pattern", \.rankPattern),
      .pattern("lambda_pattern", \.lambdaPattern), .flag("init_weights", \.startsAtIdentity),
      .targetModules, .excludeModules, .layersToTransform, .layersPattern, .bias, .modulesToSave,
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("rank (r)", rank)
    try requirePositive("rank_pattern", rankPattern)
    try requireFinite("delora_lambda", lambda)
    try requireShare("module_dropout", dropout)
  }
}

extension DeloraConfig: LayerMethod {
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let rank = try rankPattern.value(for: site.path, default: rank)
    let lambda = try lambdaPattern.value(for: site.path, default: lambda)
    let shape = [site.outputSize, rank]
    return DeloraAdapter(
      a: site.linearUniform([rank, site.inputSize]),
      b: startsAtIdentity ? site.zeros(shape) : site.linearUniform(shape),
      lambda: site.constant([1], lambda), columnNorms: Parameter(site.weight().norm([0])),
      dropout: dropout)
  }
}

final class DeloraAdapter: FactoredAdapter {
  let a, b: Parameter  // [rank, in], [out, rank]
  let lambda: Parameter  // [1]
  let columnNorms: Parameter  // [in]
  let dropout: Double

  init(a: Parameter, b: Parameter, lambda: Parameter, columnNorms: Parameter, dropout: Double) {
    (self.a, self.b) = (a, b)
    self.lambda = lambda
    self.columnNorms = columnNorms
    self.dropout = dropout
  }

  var parameters: [AdapterParameter] {
    [
      AdapterParameter("delora_A", a), AdapterParameter("delora_B", b),
      AdapterParameter("delora_lambda", lambda),
      AdapterParameter("delora_w_norm", columnNorms, isTrained: false),
    ]
  }

  /// The two factors of D.
  func factors() -> (a: Tensor, b: Tensor) {
    let lengths =
      a.value.norm([1]).clamped(lower: 1e-4) * b.value.norm([0]).clamped(lower: 1e-4)  // [rank]
    let scales = lambda.value / Double(a.value.size(0)) / lengths
    return (a.value * columnNorms.value, b.value * scales)
  }
}
