import JSONValues
import Layers
import Tensors

/// Configuration of low-rank Hadamard products: D = alpha / r (A1 B1) ∘ (A2 B2) with A `[outputSize,
/// r]` and B `[r, inputSize]`.
///
/// Source: Hyeon-Woo et al. 2021, arXiv 2108.06098; Yeh et al. 2023, arXiv 2309.14859. Defaults are
/// those of PEFT 0.21.2. Where PEFT's rank dropout leaves no row, which gives NaN there, the update is
/// zero here.
public struct LoHaConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "LOHA"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Rank of each factor; that of D is up to its square.
  public var rank = 8
  /// Numerator of the scale alpha / rank.
  public var alpha = 8.0
  /// Ranks of single layers by an expression for the end of their path; the first match counts.
  public var rankPattern: [PathPattern<Int>] = []
  /// Alphas of single layers, likewise.
  public var alphaPattern: [PathPattern<Double>] = []
  /// Share of D's rows that are left out in training, the others scaled up.
  public var rankDropout = 0.0
  /// Share of the calls in training in which D is left out.
  public var moduleDropout = 0.0
  /// Whether a fresh adapter changes nothing: B2 is zero; else all four are random.
  public var startsAtIdentity = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .wholeNumber("alpha", \.alpha),
      .pattern("rank_pattern", \.rankPattern), .pattern("alpha_pattern", \.alphaPattern),
      .number("rank_dropout", \.rankDropout), .number("module_dropout", \.moduleDropout),
      .flag("init_weights", \.startsAtIdentity),
      // Convolutions only.
      .off("use_effective_conv2d", false, ignoring: true),
      .targetModules, .excludeModules, .layersToTransform, .layersPattern, .modulesToSave,
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("rank (r)", rank)
    try requirePositive("rank_pattern", rankPattern)
    try requireFinite("alpha", alpha)
    try requireShare("rank_dropout", rankDropout)
    try requireShare("module_dropout", moduleDropout)
  }
}

extension LoHaConfig: LayerMethod {
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let rank = try rankPattern.value(for: site.path, default: rank)
    let alpha = try alphaPattern.value(for: site.path, default: alpha)
    let (left, right) = ([site.outputSize, rank], [rank, site.inputSize])
    return LoHaAdapter(
      a1: site.linearUniform(left), b1: site.linearUniform(right), a2: site.linearUniform(left),
      b2: startsAtIdentity ? site.zeros(right) : site.linearUniform(right),
      scale: alpha / Double(rank),
      dropout: StructuralDropout(module: moduleDropout, rows: rankDropout, rescales: true))
  }
}

final class LoHaAdapter: LayerAdapter {
  let a1, b1, a2, b2: Parameter  // [out, rank], [rank, in], twice
  let scale: Double
  let dropout: StructuralDropout

  init(
    a1: Parameter, b1: Parameter, a2: Parameter, b2: Parameter, scale: Double,
    dropout: StructuralDropout
  ) {
    (self.a1, self.b1, self.a2, self.b2) = (a1, b1, a2, b2)
    self.scale = scale
    self.dropout = dropout
  }

  var parameters: [AdapterParameter] {
    [
      AdapterParameter("hada_w1_a", a1), AdapterParameter("hada_w1_b", b1),
      AdapterParameter("hada_w2_a", a2), AdapterParameter("hada_w2_b", b2),
    ]
  }

  private func delta() -> Tensor {
    hadamardProduct(a1.value, b1.value, a2.value, b2.value, scale: scale)
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let update = x.to(a1.value.dtype).linear(delta())
    let factors = dropout.factors(update.size(-1), like: update, context)
    return y.adding(wide: factors.map { update * $0 } ?? update)
  }

  func merge(into layer: inout MergedLayer) { layer.weight.addInPlace(delta().detached()) }
}

/// scale (a1 b1) ∘ (a2 b2), keeping the factors alone for the gradients.
private func hadamardProduct(
  _ a1: Tensor, _ b1: Tensor, _ a2: Tensor, _ b2: Tensor, scale: Double
) -> Tensor {
  differentiable("LoHa", [a1, b1, a2, b2]) { inputs in
    let (a1, b1, a2, b2) = (inputs[0], inputs[1], inputs[2], inputs[3])
    let product = a1.matrixProduct(b1).multiplyInPlace(a2.matrixProduct(b2)).multiplyInPlace(scale)
    return (
      product,
      { gradient in
        let first = a2.matrixProduct(b2).multiplyInPlace(gradient).multiplyInPlace(scale)
        let second = a1.matrixProduct(b1).multiplyInPlace(gradient).multiplyInPlace(scale)
        return [
          first.matrixProduct(b1.transposed()), a1.transposed().matrixProduct(first),
          second.matrixProduct(b2.transposed()), a2.transposed().matrixProduct(second),
        ]
      }
    )
  }
}
