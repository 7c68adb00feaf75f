import JSONValues
import Layers
import Tensors

/// Configuration of updates from a few numbers: y = x W^T + x A^T R^T B^T.
///
/// A `[r, inputSize]` and B `[outputSize, r]` are the leading singular vectors of W, each times the square
/// root of its singular value; R is the sum of frozen random matrices P `[count, r, r]` weighted by a
/// trained vector `[count]`, which groups of neighbouring layers share. r is the rank, or the smaller side
/// of W where that is smaller.
///
/// Source: LoRA-XS is Bałazy et al. 2024, arXiv 2405.17604. Defaults are those of PEFT 0.21.2.
public struct TinyLoRAConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "TINYLORA"

  /// How trained vectors start.
  public enum Initialization: Equatable, Sendable {
    /// With zeros, so that outputs do not change.
    case zeros
    /// Uniform in ± a bound. PEFT's `false`, which leaves them as memory happens to be, is read as this.
    case uniform
  }

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Singular vectors of each layer.
  public var rank = 2
  /// Length of each trained vector.
  public var vectorLength = 64
  /// How much is shared, from 0, each layer has its own vector, to 1, all have one.
  public var sharing = 0.0
  /// Seed by which P is drawn; each layer adds its number.
  public var projectionSeed = 42
  /// Whether files hold P; else it is drawn anew, with the same numbers on every processor.
  public var savesProjection = true
  /// Share of inputs of A that are dropped in training.
  public var dropout = 0.0
  /// How vectors start.
  public var initialization = Initialization.zeros
  /// Bound of uniform initial numbers.
  public var initialBound = 0.02

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - rank: Singular vectors of each layer, positive.
  ///   - vectorLength: Length of each trained vector, positive.
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(rank: Int = 2, vectorLength: Int = 64, targetModules: TargetModules? = nil) {
    (self.rank, self.vectorLength) = (rank, vectorLength)
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .integer("u", \.vectorLength), .number("weight_tying", \.sharing),
      .integer("projection_seed", \.projectionSeed),
      .flag("save_projection", \.savesProjection), .number("tinylora_dropout", \.dropout),
      initializationField, .number("init_v_bound", \.initialBound), .targetModules,
      .layersToTransform, .layersPattern, .bias, .modulesToSave, .fanInFanOut,
    ]
  }

  private static var initializationField: ConfigurationField<Self> {
    ConfigurationField(
      "init_weights",
      read: { (object, reader) throws(AdapterError) in
        guard let value = reader.value("init_weights") else { return }
        switch value {
        case true: object.initialization = .zeros
        case false, "uniform": object.initialization = .uniform
        default: throw reader.wrong("init_weights", "true, false or \"uniform\"")
        }
      },
      write: { $0.initialization == .zeros ? true : "uniform" })
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("r", rank)
    try requirePositive("u", vectorLength)
    try require("weight_tying", (0...1).contains(sharing), "between 0 and 1", sharing)
    try requireShare("tinylora_dropout", dropout)
    try require("init_v_bound", initialBound >= 0, "not negative", initialBound)
  }
}

extension TinyLoRAConfig: TableMatrixMethod {
  /// Which vector each of some layers has.
  func groups(_ layerCount: Int) -> [Int] {
    // As Python rounds: halves to even.
    let wanted = (Double(layerCount) * (1 - sharing)).rounded(.toNearestOrEven)
    let count = max(1, Int(wanted))
    let size = max(1, layerCount / count)
    return (0..<layerCount).map { min($0 / size, count - 1) }
  }

  /// Leading singular vectors, each times the root of its value.
  private func factors(_ site: LayerSite, _ rank: Int) -> (a: Parameter, b: Parameter) {
    guard !site.isLoading else {
      return (site.zeros([rank, site.inputSize]), site.zeros([site.outputSize, rank]))
    }
    let (u, s, vt) = site.wideWeight().singularValueDecomposition()
    let roots = s.narrowed(0, 0..<rank).squareRoot()
    let a = vt.narrowed(0, 0..<rank) * roots.unsqueezed(1)
    let b = u.narrowed(1, 0..<rank) * roots
    return (Parameter(a.contiguous().to(site.dtype)), Parameter(b.contiguous().to(site.dtype)))
  }

  private func projection(_ site: LayerSite, _ rank: Int, seed: Int) -> Parameter {
    let shape = [vectorLength, rank, rank]
    guard !(site.isLoading && savesProjection) else { return site.zeros(shape) }
    let drawn = RedrawnNumbers.normal(
      shape, deviation: 1 / Double(rank).squareRoot(),
      generator: RedrawnNumbers.generator(seed: seed))
    return Parameter(drawn.to(site.dtype).to(device: site.device))
  }

  func adapters(for sites: [LayerSite]) throws(AdapterError) -> LayerAdapters {
    let groups = groups(sites.count)
    var vectors: [Parameter] = []
    for (site, group) in zip(sites, groups) where group == vectors.count {
      vectors.append(
        initialization == .zeros
          ? site.zeros([vectorLength]) : site.uniform([vectorLength], bound: initialBound))
    }
    let layers = zip(sites, groups).enumerated().map { index, entry in
      let (site, group) = entry
      let rank = min(rank, site.inputSize, site.outputSize)
      let (a, b) = factors(site, rank)
      return TinyLoRAAdapter(
        vector: vectors[group], name: "tinylora_v.\(group)", a: a, b: b,
        p: projection(site, rank, seed: projectionSeed &+ index),
        savesProjection: savesProjection, dropout: dropout)
    }
    return LayerAdapters(
      layers: layers,
      shared: vectors.enumerated().map { AdapterParameter("tinylora_v.\($0)", $1) })
  }
}

/// The frozen factors of one layer.
final class TinyLoRAAdapter: TableRows {
  let vector: Parameter  // [count]
  let name: String
  let a: Parameter  // [r, in]
  let b: Parameter  // [out, r]
  let p: Parameter  // [count, r, r]
  let savesProjection: Bool
  let dropout: Double

  init(
    vector: Parameter, name: String, a: Parameter, b: Parameter, p: Parameter,
    savesProjection: Bool, dropout: Double
  ) {
    (self.vector, self.name, self.a, self.b, self.p) = (vector, name, a, b, p)
    (self.savesProjection, self.dropout) = (savesProjection, dropout)
  }

  var parameters: [AdapterParameter] {
    [("tinylora_A", a), ("tinylora_B", b)].map { AdapterParameter($0, $1, isTrained: false) }
      + (savesProjection ? [AdapterParameter("tinylora_P", p, isTrained: false)] : [])
  }

  var shared: [AdapterParameter] { [AdapterParameter(name, vector)] }

  /// R, `[r, r]`.
  private func mixed() -> Tensor {
    let (count, rank) = (p.value.size(0), p.value.size(1))
    return vector.value.unsqueezed(0).matrixProduct(p.value.reshaped([count, rank * rank]))
      .reshaped([rank, rank])
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let inner = context.dropped(x, dropout).to(a.value.dtype).linear(a.value).linear(mixed())
    return y.adding(wide: inner.linear(b.value))
  }

  func rows(_ ids: Tensor, _ context: AdapterContext) -> Tensor {
    let narrow = b.value.selecting(0, ids.reshaped([-1]))  // [N, r]
    return context.dropped(narrow, dropout).matrixProduct(mixed()).matrixProduct(a.value)
      .reshaped(ids.shape + [a.value.size(1)])
  }

  func merge(into layer: inout MergedLayer) {
    let delta = b.value.matrixProduct(mixed()).matrixProduct(a.value)
    layer.weight.addInPlace(delta.to(layer.weight.dtype))
  }
}
