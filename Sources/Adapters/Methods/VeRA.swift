import JSONValues
import Layers
import Tensors

/// Configuration of vector-based random matrix adaptation: y = x W^T + b o ((d o x A^T) B^T).
///
/// A `[rank, widest input]` and B `[widest output, rank]` are random, frozen and shared by all layers,
/// each of which uses the columns of A and rows of B that fit; only d `[rank]` and b `[outputSize]` are
/// trained.
///
/// Source: Kopiczko, Blankevoort and Asano 2023, arXiv 2310.11454. Defaults are those of PEFT 0.21.2.
public struct VeRAConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "VERA"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Rows of A and columns of B.
  public var rank = 256
  /// Seed by which A and B are drawn.
  public var projectionSeed = 0
  /// Whether files hold A and B; else they are drawn anew, with the same numbers on every processor.
  public var savesProjection = true
  /// Share of inputs of A that are dropped in training.
  public var dropout = 0.0
  /// What d starts with.
  public var initialScale = 0.1
  /// Whether b starts with zeros, so that outputs do not change; else b is 1 and d normal.
  public var startsAtIdentity = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - rank: Rows of A, positive.
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(rank: Int, targetModules: TargetModules? = nil) {
    self.rank = rank
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .integer("projection_prng_key", \.projectionSeed),
      .flag("save_projection", \.savesProjection), .number("vera_dropout", \.dropout),
      .number("d_initial", \.initialScale), .flag("init_weights", \.startsAtIdentity),
      .targetModules, .layersToTransform, .layersPattern, .bias, .modulesToSave,
      .fanInFanOut,
    ]
  }

  /// As for LoRA, but for Phi.
  ///
  /// - Parameter modelType: The `model_type` of `config.json`.
  /// - Returns: Layers, or nil when they have to be named.
  public static func defaultTargets(modelType: String) -> TargetModules? {
    DefaultTargets.vera[modelType]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("r", rank)
    try requireShare("vera_dropout", dropout)
  }
}

extension VeRAConfig: LayerMethod {
  func adapters(for sites: [LayerSite]) throws(AdapterError) -> LayerAdapters {
    guard !sites.isEmpty else { return LayerAdapters(layers: []) }
    let projections = SharedProjections(
      uniformFor: sites, rows: rank, rank: rank, seed: projectionSeed, isStored: savesProjection)
    let layers = sites.map { site in
      VeRAAdapter(
        projections, inputSize: site.inputSize,
        d: startsAtIdentity ? site.constant([rank], initialScale) : site.normal([rank]),
        b: site.constant([site.outputSize], startsAtIdentity ? 0 : 1), dropout: dropout)
    }
    return LayerAdapters(
      layers: layers, shared: savesProjection ? projections.parameters("vera_A", "vera_B") : [])
  }
}

/// The scales of one layer.
final class VeRAAdapter: LayerAdapter {
  let projections: SharedProjections
  let inputSize: Int
  let d: Parameter  // [rank]
  let b: Parameter  // [out]
  let dropout: Double

  init(
    _ projections: SharedProjections, inputSize: Int, d: Parameter, b: Parameter, dropout: Double
  ) {
    (self.projections, self.inputSize, self.d, self.b) = (projections, inputSize, d, b)
    self.dropout = dropout
  }

  var parameters: [AdapterParameter] {
    [AdapterParameter("vera_lambda_b", b), AdapterParameter("vera_lambda_d", d)]
  }

  /// A `[rank, in]` and B `[out, rank]` of this layer.
  private var own: (a: Tensor, b: Tensor) {
    projections.fitting(inputs: inputSize, outputs: b.count)
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let (small, big) = own
    let inner = context.dropped(x, dropout).to(d.value.dtype).linear(small) * d.value
    return y.adding(wide: inner.linear(big) * b.value)
  }

  func merge(into layer: inout MergedLayer) {
    let (small, big) = own
    let left = big * b.value.unsqueezed(1)
    let right = small * d.value.unsqueezed(1)
    layer.weight.addInPlace(left.matrixProduct(right).to(layer.weight.dtype))
  }
}
