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
  /// Whether a convolution's B are products of a core `[r, r, kernel...]` with a matrix `[r,
  /// channels]`, which is smaller, where its kernel has more than one element.
  public var factorsKernels = false

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .wholeNumber("alpha", \.alpha),
      .pattern("rank_pattern", \.rankPattern), .pattern("alpha_pattern", \.alphaPattern),
      .number("rank_dropout", \.rankDropout), .number("module_dropout", \.moduleDropout),
      .flag("init_weights", \.startsAtIdentity),
      .flag("use_effective_conv2d", \.factorsKernels),
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

extension LoHaConfig: KernelMatrixMethod {
  static var kernelDimensions: ClosedRange<Int> { 1...2 }
  static var takesGroups: Bool { true }

  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let rank = try rankPattern.value(for: site.path, default: rank)
    let alpha = try alphaPattern.value(for: site.path, default: alpha)
    func factor(isZero: Bool) -> HadamardFactor {
      func last(_ shape: [Int]) -> Parameter {
        isZero ? site.zeros(shape) : site.linearUniform(shape)
      }
      if factorsKernels, let kernel = site.kernel, kernel.area > 1 {
        return HadamardFactor(
          a: site.linearUniform([rank, site.outputSize]), b: last([rank, kernel.channels]),
          core: site.linearUniform([rank, rank] + kernel.planeSizes))
      }
      return HadamardFactor(
        a: site.linearUniform([site.outputSize, rank]), b: last([rank, site.inputSize]))
    }
    return LoHaAdapter(
      factor(isZero: false), factor(isZero: startsAtIdentity), scale: alpha / Double(rank),
      dropout: StructuralDropout(module: moduleDropout, rows: rankDropout, rescales: true))
  }
}

/// A matrix `[out, in]` of rank r.
struct HadamardFactor {
  let a: Parameter  // [out, r]; with a core [r, out]
  let b: Parameter  // [r, in]; with a core [r, channels]
  var core: Parameter?  // [r, r, kernel...]

  func parameters(_ number: Int) -> [AdapterParameter] {
    [
      AdapterParameter("hada_w\(number)_a", a), AdapterParameter("hada_w\(number)_b", b),
    ] + (core.map { [AdapterParameter("hada_t\(number)", $0)] } ?? [])
  }

  /// The two matrices `[out, r]` and `[r, in]` that it is the product of.
  var matrices: [Tensor] {
    core.map { [a.value.transposed(), kernelRows($0.value, b.value)] } ?? [a.value, b.value]
  }
}

/// The matrix `[r, channels · kernel]` that a core `[r, r', kernel...]` gives with a matrix `[r',
/// channels]`.
func kernelRows(_ core: Tensor, _ matrix: Tensor) -> Tensor {
  let planes = core.reshaped([core.size(0), core.size(1), -1])  // [r, r', kernel]
  return matrix.transposed().matrixProduct(planes).reshaped([core.size(0), -1])
}

final class LoHaAdapter: LayerAdapter {
  let first, second: HadamardFactor
  let scale: Double
  let dropout: StructuralDropout

  init(
    _ first: HadamardFactor, _ second: HadamardFactor, scale: Double, dropout: StructuralDropout
  ) {
    (self.first, self.second, self.scale, self.dropout) = (first, second, scale, dropout)
  }

  var parameters: [AdapterParameter] { first.parameters(1) + second.parameters(2) }

  private func delta() -> Tensor {
    let (first, second) = (first.matrices, second.matrices)
    return hadamardProduct(first[0], first[1], second[0], second[1], scale: scale)
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let delta = delta()
    let update = x.to(delta.dtype).linear(delta)
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
