import JSONValues
import Layers
import Tensors

/// Configuration of VeRA with a sampled bottleneck: y = x W^T + b o (z B^T).
///
/// d o x A^T `[2 rank]` is the mean m and the logarithm v of the variance of z; in training z is drawn as
/// m + e exp(v / 2) with standard normal e, otherwise it is m. A `[2 rank, widest input]` and B
/// `[widest output, rank]` are random, frozen and shared by all layers. A merged weight has the mean.
///
/// Defaults, initial numbers and files are those of PEFT 0.21.2.
public struct PVeRAConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "PVERA"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Columns of B and half the rows of A.
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
  /// Whether z is drawn outside training too.
  public var samplesAtInference = false
  /// Seed of a generator that each layer has for its draws; nil for the one that dropout uses.
  public var samplingSeed: Int?

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - rank: Columns of B, positive.
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(rank: Int, targetModules: TargetModules? = nil) {
    self.rank = rank
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .integer("projection_prng_key", \.projectionSeed),
      .flag("save_projection", \.savesProjection), .number("pvera_dropout", \.dropout),
      .number("d_initial", \.initialScale), .flag("init_weights", \.startsAtIdentity),
      .flag("sample_at_inference", \.samplesAtInference),
      .integer("generator_seed", \.samplingSeed), .targetModules, .layersToTransform,
      .layersPattern, .bias, .modulesToSave, .fanInFanOut,
    ]
  }

  /// As for VeRA, and for DINOv2.
  ///
  /// - Parameter modelType: The `model_type` of `config.json`.
  /// - Returns: Layers, or nil when they have to be named.
  public static func defaultTargets(modelType: String) -> TargetModules? {
    DefaultTargets.pvera[modelType]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("r", rank)
    try requireShare("pvera_dropout", dropout)
  }
}

extension PVeRAConfig: LayerMethod {
  func adapters(for sites: [LayerSite]) throws(AdapterError) -> LayerAdapters {
    guard !sites.isEmpty else { return LayerAdapters(layers: []) }
    let projections = SharedProjections(
      uniformFor: sites, rows: 2 * rank, rank: rank, seed: projectionSeed,
      isStored: savesProjection)
    let layers = sites.map { site in
      PVeRAAdapter(
        projections, inputSize: site.inputSize,
        d: startsAtIdentity ? site.constant([2 * rank], initialScale) : site.normal([2 * rank]),
        b: site.constant([site.outputSize], startsAtIdentity ? 0 : 1), dropout: dropout,
        alwaysSamples: samplesAtInference,
        noise: samplingSeed.map { RepeatableNoise(RedrawnNumbers.generator(seed: $0)) })
    }
    return LayerAdapters(
      layers: layers, shared: savesProjection ? projections.parameters("pvera_A", "pvera_B") : [])
  }
}

/// The scales of one layer.
final class PVeRAAdapter: LayerAdapter {
  let projections: SharedProjections
  let inputSize: Int
  let d: Parameter  // [2 rank]
  let b: Parameter  // [out]
  let dropout: Double
  let alwaysSamples: Bool
  let noise: RepeatableNoise?

  init(
    _ projections: SharedProjections, inputSize: Int, d: Parameter, b: Parameter, dropout: Double,
    alwaysSamples: Bool, noise: RepeatableNoise?
  ) {
    (self.projections, self.inputSize, self.d, self.b) = (projections, inputSize, d, b)
    (self.dropout, self.alwaysSamples, self.noise) = (dropout, alwaysSamples, noise)
  }

  var parameters: [AdapterParameter] {
    [AdapterParameter("pvera_lambda_b", b), AdapterParameter("pvera_lambda_d", d)]
  }

  private var rank: Int { d.count / 2 }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let (a, wide) = projections.fitting(inputs: inputSize, outputs: b.count)
    let both = context.dropped(x, dropout).to(d.value.dtype).linear(a) * d.value  // [..., 2 rank]
    var z = both.narrowed(-1, 0..<rank)
    if context.isTraining || alwaysSamples {
      let deviation = (both.narrowed(-1, rank..<2 * rank) * 0.5).exponential()
      let shape = deviation.shape
      let drawn =
        noise?.draw(shape, deviation.dtype, context).to(device: deviation.device)
        ?? .randomNormal(
          shape, dtype: deviation.dtype, device: deviation.device, generator: context.generator)
      z = z + drawn * deviation
    }
    return y.adding(wide: z.linear(wide) * b.value)
  }

  func merge(into layer: inout MergedLayer) {
    let (a, wide) = projections.fitting(inputs: inputSize, outputs: b.count)
    let left = wide * b.value.unsqueezed(1)
    let right = a.narrowed(0, 0..<rank) * d.value.narrowed(0, 0..<rank).unsqueezed(1)
    layer.weight.addInPlace(left.matrixProduct(right).to(layer.weight.dtype))
  }
}

/// Draws of a generator of its own that come out the same when a block is computed again for its
/// gradients.
final class RepeatableNoise {
  private let generator: Generator
  /// What the context's generator said at the last draw, and the state that the draw began with.
  private var last: (ticket: [Double], state: Tensor)?

  init(_ generator: Generator) { self.generator = generator }

  func draw(_ shape: [Int], _ dtype: DType, _ context: AdapterContext) -> Tensor {
    if context.isTraining {
      // The context's generator is put back before a block is computed again, so that it repeats itself
      // then and only then.
      let ticket = Tensor.randomUniform(
        [2], dtype: .float32, device: context.device, generator: context.generator
      ).to(device: .cpu).array(of: Float.self).map(Double.init)
      if let last, last.ticket == ticket {
        generator.state = last.state
      } else {
        last = (ticket, generator.state)
      }
    }
    return .randomNormal(shape, dtype: dtype, generator: generator)
  }
}
