import JSONValues
import Layers
import Tensors

/// Configuration of low-rank Kronecker products: D = alpha / r (W1 ⊗ W2) with W1 `[l, m]`, W2 `[k,
/// n]`, outputSize = l k and inputSize = m n.
///
/// Either factor may itself be a product of rank r. As in PEFT, alpha / r scales D even where neither
/// is.
///
/// Source: Edalati et al. 2022, arXiv 2212.10650; Yeh et al. 2023, arXiv 2309.14859. Defaults are those
/// of PEFT 0.21.2.
public struct LoKrConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "LOKR"

  /// How the factors start.
  public enum Initialization: Equatable, Sendable, CaseIterable {
    /// W1, or the left part of it, zero; the rest uniform.
    case standard
    /// W2, or the right part of it, zero; the rest uniform.
    case lycoris
    /// All uniform, so that the output changes at once.
    case random
  }

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Rank of W2 where it is a product: where it is below half of W2's larger dimension.
  public var rank = 8
  /// Numerator of the scale alpha / rank.
  public var alpha = 8.0
  /// Ranks of single layers by an expression for the end of their path; the first match counts.
  public var rankPattern: [PathPattern<Int>] = []
  /// Alphas of single layers, likewise.
  public var alphaPattern: [PathPattern<Double>] = []
  /// Share of D's rows that are left out in training.
  public var rankDropout = 0.0
  /// Whether the rows that stay are scaled up for those that do not.
  public var rescalesRankDropout = false
  /// Share of the calls in training in which D is left out.
  public var moduleDropout = 0.0
  /// Whether W1 may be a product too.
  public var decomposesBoth = false
  /// Size of W1's dimensions; where it does not divide a layer's, the largest divisor up to it; -1
  /// for the divisors nearest to the square root.
  public var decomposeFactor = -1
  /// How the factors start.
  public var initialization = Initialization.standard
  /// Whether a convolution's W2, where it is a product, is one of a core `[r, r, kernel...]` and two
  /// matrices, if its kernel has more than one element.
  public var factorsKernels = false

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .wholeNumber("alpha", \.alpha),
      .pattern("rank_pattern", \.rankPattern), .pattern("alpha_pattern", \.alphaPattern),
      .number("rank_dropout", \.rankDropout), .number("module_dropout", \.moduleDropout),
      .flag("rank_dropout_scale", \.rescalesRankDropout),
      .flag("decompose_both", \.decomposesBoth), .integer("decompose_factor", \.decomposeFactor),
      .spelled(
        "init_weights", \.initialization,
        [(.standard, true), (.random, false), (.lycoris, "lycoris")]),
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
    try require(
      "decompose_factor", decomposeFactor == -1 || decomposeFactor > 0, "-1 or a positive number",
      decomposeFactor)
  }

  /// Splits a layer's dimension between the factors.
  ///
  /// - Parameter dimension: inputSize or outputSize.
  /// - Returns: Two numbers with that product: what W1 and what W2 get.
  func split(_ dimension: Int) -> (first: Int, second: Int) {
    if decomposeFactor > 0, dimension.isMultiple(of: decomposeFactor) {
      return (decomposeFactor, dimension / decomposeFactor)
    }
    let limit = decomposeFactor > 0 ? decomposeFactor : dimension
    var first = 1
    for divisor in 1...min(limit, dimension)
    where divisor * divisor <= dimension && dimension.isMultiple(of: divisor) { first = divisor }
    return (first, dimension / first)
  }
}

extension LoKrConfig: KernelMatrixMethod {
  static var kernelDimensions: ClosedRange<Int> { 1...2 }
  static var takesGroups: Bool { true }

  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let rank = try rankPattern.value(for: site.path, default: rank)
    let alpha = try alphaPattern.value(for: site.path, default: alpha)
    let (l, k) = split(site.outputSize)
    let (m, n) = split(site.kernel?.channels ?? site.inputSize)
    func values(_ shape: [Int], isZero: Bool) -> Parameter {
      isZero ? site.zeros(shape) : site.linearUniform(shape)
    }
    let (firstIsZero, secondIsZero) = (initialization == .standard, initialization == .lycoris)
    let w1 =
      decomposesBoth && 2 * rank < max(l, m)
      ? KroneckerFactor.product(
        values([l, rank], isZero: firstIsZero), values([rank, m], isZero: false))
      : .whole(values([l, m], isZero: firstIsZero))
    let sizes = site.kernel?.sizes ?? []
    let w2: KroneckerFactor
    if 2 * rank >= max(k, n) {
      w2 = .whole(values([k, n] + sizes, isZero: secondIsZero))
    } else if factorsKernels, let kernel = site.kernel, kernel.area > 1 {
      w2 = .core(
        values([rank, rank] + kernel.planeSizes, isZero: false), values([rank, k], isZero: false),
        values([rank, n], isZero: secondIsZero))
    } else {
      w2 = .product(
        values([k, rank], isZero: false),
        values([rank, n * sizes.reduce(1, *)], isZero: secondIsZero))
    }
    return LoKrAdapter(
      w1: w1, w2: w2, scale: alpha / Double(rank),
      dropout: StructuralDropout(
        module: moduleDropout, rows: rankDropout, rescales: rescalesRankDropout))
  }
}

/// A factor of a Kronecker product, itself whole or a product.
enum KroneckerFactor {
  /// `[rows, columns]`; for kernels also `[rows, channels, kernel...]`.
  case whole(Parameter)
  /// `[rows, r]` and `[r, columns]`.
  case product(Parameter, Parameter)
  /// `[r, r, kernel...]`, `[r, rows]` and `[r, channels]`.
  case core(Parameter, Parameter, Parameter)

  /// `[rows, columns]`, kernels flat.
  var value: Tensor {
    switch self {
    case .whole(let parameter): parameter.value.reshaped([parameter.value.size(0), -1])
    case .product(let left, let right): left.value.matrixProduct(right.value)
    case .core(let core, let left, let right):
      left.value.transposed().matrixProduct(kernelRows(core.value, right.value))
    }
  }

  func parameters(_ number: Int) -> [AdapterParameter] {
    let name = "lokr_w\(number)"
    return switch self {
    case .whole(let parameter): [AdapterParameter(name, parameter)]
    case .product(let left, let right):
      [AdapterParameter(name + "_a", left), AdapterParameter(name + "_b", right)]
    case .core(let core, let left, let right):
      [
        AdapterParameter("lokr_t\(number)", core), AdapterParameter(name + "_a", left),
        AdapterParameter(name + "_b", right),
      ]
    }
  }

  /// A whole factor over kernels of one dimension, `[rows, channels, kernel]`; else nil.
  var lines: Tensor? {
    if case .whole(let parameter) = self, parameter.value.rank == 3 { parameter.value } else { nil }
  }
}

final class LoKrAdapter: LayerAdapter {
  let w1, w2: KroneckerFactor  // [l, m], [k, n]
  let scale: Double
  let dropout: StructuralDropout

  init(w1: KroneckerFactor, w2: KroneckerFactor, scale: Double, dropout: StructuralDropout) {
    self.w1 = w1
    self.w2 = w2
    self.scale = scale
    self.dropout = dropout
  }

  var parameters: [AdapterParameter] { w1.parameters(1) + w2.parameters(2) }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let update = update(x).reshaped(y.shape)
    let factors = dropout.factors(update.size(-1), like: update, context)
    return y.adding(wide: factors.map { update * $0 } ?? update)
  }

  private func update(_ x: Tensor) -> Tensor {
    let w1 = w1.value
    if w2.lines != nil { return x.to(w1.dtype).linear(delta()) * scale }
    let w2 = w2.value
    // (W1 ⊗ W2) x = W1 X W2^T with x as a matrix X [m, n]: D itself is never formed.
    // Products of two dimensions, whose sums do not depend on whether gradients are needed.
    let (m, n) = (w1.size(1), w2.size(1))
    let narrow = x.to(w1.dtype).reshaped([-1, n]).linear(w2)  // [N m, k]
    let turned = narrow.reshaped([-1, m, w2.size(0)]).transposed().reshaped([-1, m])  // [N k, m]
    let product = turned.linear(w1).reshaped([-1, w2.size(0), w1.size(0)])  // [N, k, l]
    return (product * scale).transposed()
  }

  /// W1 ⊗ W2, `[outputSize, inputSize]`.
  private func delta() -> Tensor {
    let w1 = w1.value
    let (l, m) = (w1.size(0), w1.size(1))
    if let lines = w2.lines {
      // PEFT hands three dimensions to a product that adds missing ones in front: outputs are in the
      // order (k, l), inputs in the order (n, m).
      let (k, n, length) = (lines.size(0), lines.size(1), lines.size(2))
      return (w1.reshaped([1, l, 1, m, 1]) * lines.reshaped([k, 1, n, 1, length]))
        .reshaped([k * l, -1])
    }
    let w2 = w2.value
    return (w1.reshaped([l, 1, m, 1]) * w2.reshaped([1, w2.size(0), 1, w2.size(1)]))
      .reshaped([l * w2.size(0), -1])
  }

  func merge(into layer: inout MergedLayer) {
    layer.weight.addInPlace(delta().detached().to(layer.weight.dtype), scale: scale)
  }
}
