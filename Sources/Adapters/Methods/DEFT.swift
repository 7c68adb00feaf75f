import JSONValues
import Layers
import Tensors

/// Configuration of DEFT: a subspace of W's outputs is taken out and a learnt one put in, W becomes
/// (I - Q V^T) W + s Q R with R `[rank, inputSize]`.
///
/// Q and V come from a trained P `[outputSize, rank]`: Q = P and V = max(P, 0), or both an orthonormal
/// basis of P's columns. The rank is at most the number of outputs. Beside other adapters of a layer
/// the subspace is taken out of what those before it make of W.
///
/// Source: Kumar et al. 2025, arXiv 2509.22793. Defaults are those of PEFT 0.21.2.
public struct DEFTConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "DEFT"

  /// How P becomes a projection.
  public enum Decomposition: String, Sendable, CaseIterable {
    /// P max(P, 0)^T, which is not orthogonal.
    case relu
    /// Q Q^T with P = Q R by QR decomposition, the orthogonal projection on P's columns.
    case qr
  }

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Columns of P.
  public var rank = 8
  /// Numerator of the scale s = alpha / rank; nil or 0 for s = 1.
  public var alpha: Double?
  /// Share of inputs of R that are dropped in training.
  public var dropout = 0.0
  /// How P becomes a projection.
  public var decomposition = Decomposition.relu
  /// PaRa: only takes out, there is no R.
  ///
  /// Such an adapter always starts with an effect.
  public var onlyRemoves = false
  /// Factor of the deviation 0.02 of a random R.
  public var initialScale = 1.0
  /// Whether R starts as V^T W / s, so that what is taken out is put in again, instead of at random.
  public var hasStandardInitialization = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - rank: Columns of P, positive.
  ///   - decomposition: How P becomes a projection.
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(
    rank: Int = 8, decomposition: Decomposition = .relu, targetModules: TargetModules? = nil
  ) {
    self.rank = rank
    self.decomposition = decomposition
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .number("alpha", \.alpha), .number("deft_dropout", \.dropout),
      .choice("decomposition_method", \.decomposition), .flag("para", \.onlyRemoves),
      .number("init_scale", \.initialScale), .flag("init_weights", \.hasStandardInitialization),
      .targetModules, .excludeModules, .layersToTransform, .layersPattern, .bias, .modulesToSave,
      .fanInFanOut,
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("rank (r)", rank)
    try requireShare("deft_dropout", dropout)
    try require("alpha", alpha?.isFinite ?? true, "a number", alpha ?? 0)
    try requireFinite("init_scale", initialScale)
  }
}

extension DEFTConfig: LayerMethod {
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let rank = min(rank, site.outputSize)
    let scale = alpha.map { $0 == 0 ? 1 : $0 / Double(rank) } ?? 1
    let p = site.normal([site.outputSize, rank], deviation: 0.02)
    let projection = DEFTProjection(p: p, decomposition)
    var r: Parameter?
    if !onlyRemoves {
      r = site.normal([rank, site.inputSize], deviation: 0.02 * initialScale)
      if hasStandardInitialization && !site.isLoading {
        let type = DType.computing(site.dtype)
        let right = projection.factors(type).right
        let start = right.transposed().matrixProduct(site.weight().to(type)) * (1 / scale)
        r = Parameter(start.to(site.dtype))
      }
    }
    return DEFTAdapter(projection, r: r, scale: scale, dropout: dropout)
  }
}

/// P, and how it becomes a projection.
struct DEFTProjection {
  let p: Parameter  // [out, rank]
  let decomposition: DEFTConfig.Decomposition

  init(p: Parameter, _ decomposition: DEFTConfig.Decomposition) {
    self.p = p
    self.decomposition = decomposition
  }

  /// Q and V, `[out, rank]`.
  func factors(_ type: DType) -> (left: Tensor, right: Tensor) {
    let p = p.value.to(type)
    switch decomposition {
    case .relu: return (p, p.relu())
    case .qr:
      let basis = p.qrDecomposition().q
      return (basis, basis)
    }
  }
}

/// A subspace of one layer's outputs taken out, and one put in.
final class DEFTAdapter: LayerAdapter {
  let projection: DEFTProjection
  let r: Parameter?  // [rank, in]
  let scale: Double
  let dropout: Double

  init(_ projection: DEFTProjection, r: Parameter?, scale: Double, dropout: Double) {
    self.projection = projection
    self.r = r
    self.scale = scale
    self.dropout = dropout
  }

  var parameters: [AdapterParameter] {
    [AdapterParameter("deft_P", projection.p)]
      + (r.map { [AdapterParameter("deft_R", $0)] } ?? [])
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let type = DType.computing(y.dtype, projection.p.value.dtype)
    let (left, right) = projection.factors(type)
    let wide = y.to(type)
    let product = base.bias.map { wide - $0.value.to(type) } ?? wide
    var narrow = -product.matrixProduct(right)  // [..., rank]
    if let r {
      narrow = narrow.adding(
        context.dropped(x, dropout).to(type).linear(r.value.to(type)), scale: scale)
    }
    return (wide + narrow.linear(left)).to(y.dtype)
  }

  func merge(into layer: inout MergedLayer) {
    withoutGradients {
      let type = layer.weight.dtype
      let (left, right) = projection.factors(type)
      var factor = -right.transposed().matrixProduct(layer.weight)  // [rank, in]
      if let r { factor = factor.adding(r.value.to(type), scale: scale) }
      layer.weight.addMatrixProductInPlace(left, factor)
    }
  }
}
