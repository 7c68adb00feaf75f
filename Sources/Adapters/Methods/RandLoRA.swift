import JSONValues
import Layers
import Tensors

/// Configuration of full-rank updates from random bases: y = x W^T + s x D^T.
///
/// With m the smaller and M the larger side of W and n = ceil(m / rank), D is the product of
/// B `[M, n rank]` and (lambda o A o gamma) `[rank n, m]`, whichever way it fits W. B and A
/// `[rank, 1, m]` are random, frozen and shared by all layers; lambda `[rank, n]` and gamma `[n, m]` are
/// trained. s is alpha / rank.
///
/// Files hold A and B once; PEFT 0.21.2 writes them again for each layer, which is read as well, and reads
/// files without the repetitions.
///
/// Source: Albert et al. 2025, arXiv 2502.00987; sparse bases: Li, Hastie and Church 2006,
/// "Very sparse random projections". Defaults are those of PEFT 0.21.2.
public struct RandLoRAConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "RANDLORA"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Rank of each random base.
  public var rank = 32
  /// Numerator of the scale s.
  public var alpha = 640.0
  /// Seed by which A and B are drawn.
  public var projectionSeed = 0
  /// Whether files hold A and B; else they are drawn anew, with the same numbers on every processor.
  public var savesProjection = true
  /// Share of inputs that are dropped in training.
  public var dropout = 0.0
  /// Whether two thirds of A and B are zero and the others have one size.
  public var isSparse = false
  /// Whether only one in sqrt(m) elements of A and B is not zero.
  public var isVerySparse = false
  /// Whether lambda starts with zeros, so that outputs do not change; else it is normal.
  public var startsAtIdentity = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - rank: Rank of each base, positive.
  ///   - alpha: Numerator of the scale.
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(rank: Int, alpha: Double = 640, targetModules: TargetModules? = nil) {
    (self.rank, self.alpha) = (rank, alpha)
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .wholeNumber("randlora_alpha", \.alpha),
      .integer("projection_prng_key", \.projectionSeed),
      .flag("save_projection", \.savesProjection), .number("randlora_dropout", \.dropout),
      .flag("sparse", \.isSparse), .flag("very_sparse", \.isVerySparse),
      .flag("init_weights", \.startsAtIdentity), .targetModules, .layersToTransform,
      .layersPattern, .bias, .modulesToSave, .fanInFanOut,
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("r", rank)
    try requireShare("randlora_dropout", dropout)
    try requireFinite("randlora_alpha", alpha)
  }
}

extension RandLoRAConfig: LayerMethod {
  /// How many bases make a matrix of full rank.
  private func baseCount(_ smaller: Int) -> Int { (smaller + rank - 1) / rank }

  /// A and B as PEFT draws them.
  private func bases(smaller: Int, larger: Int) -> (a: Tensor, b: Tensor) {
    let generator = RedrawnNumbers.generator(seed: projectionSeed)
    let count = baseCount(smaller)
    if isSparse || isVerySparse {
      let threshold = 1 / (2 * (isVerySparse ? Double(smaller).squareRoot() : 3))
      func signs(_ shape: [Int]) -> Tensor {
        let uniform = Tensor.randomUniform(shape, generator: generator)
        let values =
          (uniform .> (1 - threshold)).to(.float32) - (uniform .< threshold).to(.float32)
        return values / values.standardDeviation()
      }
      return (signs([rank, 1, smaller]), signs([larger, count, rank]))
    }
    // PEFT draws and scales them in bfloat16.
    func uniform(_ shape: [Int]) -> Tensor {
      RedrawnNumbers.kaimingUniform(
        shape, slope: 5.0.squareRoot(), dtype: .bfloat16, generator: generator)
    }
    let a = uniform([rank, 1, smaller])
    let b = Tensor.concatenated((0..<count).map { _ in uniform([larger, 1, rank]) }, dimension: 1)
    return (a / a.standardDeviation(), b / b.standardDeviation())
  }

  func adapters(for sites: [LayerSite]) throws(AdapterError) -> LayerAdapters {
    guard let first = sites.first else { return LayerAdapters(layers: []) }
    let (input, output) = (sites.largestInput, sites.largestOutput)
    let (narrow, wide) = (min(input, output), max(input, output))
    let projections = SharedProjections(
      for: first, isStored: savesProjection, a: [rank, 1, narrow],
      b: [wide, baseCount(narrow), rank]
    ) { bases(smaller: narrow, larger: wide) }
    let layers = sites.map { site in
      let (smaller, larger) = (
        min(site.inputSize, site.outputSize), max(site.inputSize, site.outputSize)
      )
      let count = baseCount(smaller)
      let gamma = 1 / Double(startsAtIdentity ? max(count, smaller) : larger)
      return RandLoRAAdapter(
        projections, isWide: site.inputSize > site.outputSize, larger: larger,
        lambda: startsAtIdentity ? site.zeros([rank, count]) : site.normal([rank, count]),
        gamma: site.constant([count, smaller], gamma), scale: alpha / Double(rank),
        dropout: dropout)
    }
    let shared = projections.parameters("randlora_A", "randlora_B")
    return LayerAdapters(
      layers: layers, shared: savesProjection ? shared : [],
      repeated: savesProjection ? shared.map(\.name) : [])
  }
}

/// The scales of one layer.
final class RandLoRAAdapter: LayerAdapter {
  let projections: SharedProjections
  /// Whether the layer's input is wider than its output.
  let isWide: Bool
  let larger: Int
  let lambda: Parameter  // [rank, n]
  let gamma: Parameter  // [n, m]
  let scale: Double
  let dropout: Double

  init(
    _ projections: SharedProjections, isWide: Bool, larger: Int, lambda: Parameter,
    gamma: Parameter, scale: Double, dropout: Double
  ) {
    (self.projections, self.isWide, self.larger) = (projections, isWide, larger)
    (self.lambda, self.gamma, self.scale, self.dropout) = (lambda, gamma, scale, dropout)
  }

  var parameters: [AdapterParameter] {
    [AdapterParameter("randlora_lambda", lambda), AdapterParameter("randlora_gamma", gamma)]
  }

  /// What multiplies x first, `[n rank, in]`, and then, `[out, n rank]`.
  private func factors() -> (first: Tensor, second: Tensor) {
    let (rank, count, smaller) = (lambda.value.size(0), lambda.value.size(1), gamma.value.size(1))
    let a = projections.a.value.narrowed(2, 0..<smaller)  // [rank, 1, m]
    // The rank counts slowest here and fastest in B; the pairs are those of PEFT.
    let small = (lambda.value.unsqueezed(2) * a * gamma.value.unsqueezed(0))
      .reshaped([rank * count, smaller])
    let big = projections.b.value.narrowed(0, 0..<larger).narrowed(1, 0..<count)
      .reshaped([larger, count * rank])
    return isWide ? (big.transposed(), small.transposed()) : (small, big)
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let (first, second) = factors()
    let inner = context.dropped(x, dropout).to(first.dtype).linear(first)
    return y.adding(wide: inner.linear(second) * scale)
  }

  func merge(into layer: inout MergedLayer) {
    let (first, second) = factors()
    layer.weight.addInPlace(
      second.matrixProduct(first).to(layer.weight.dtype), scale: scale)
  }
}
