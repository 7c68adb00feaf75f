import Layers
import Tensors

/// Configuration of Householder reflection adaptation: W becomes W H with a product H of reflections.
///
/// H = (I - 2 u1 u1^T) (I - 2 u2 u2^T) and so on, the u being the columns of U `[inputSize, rank]`,
/// each scaled to length 1.
///
/// With `orthogonalizes`, H = I - 2 Q Q^T with an orthonormal basis Q of U's columns; that is never
/// the identity, and U's columns must not depend on each other. PEFT's own start with it, equal pairs
/// of columns, leaves the quotient of two rounding errors; here U then starts with independent
/// columns.
///
/// Source: Yuan et al. 2024, arXiv 2405.17484. Defaults are those of PEFT 0.21.2.
public struct HRAConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "HRA"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Number of reflections; only an even one can start without an effect.
  public var rank = 8
  /// Whether the reflections are made orthogonal to each other.
  public var orthogonalizes = false
  /// Whether U starts as equal pairs of columns, whose reflections undo each other, where the rank is
  /// even, instead of as independent ones.
  public var hasStandardInitialization = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - rank: Number of reflections, positive.
  ///   - orthogonalizes: Whether they are made orthogonal to each other.
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(rank: Int = 8, orthogonalizes: Bool = false, targetModules: TargetModules? = nil) {
    self.rank = rank
    self.orthogonalizes = orthogonalizes
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .flag("apply_GS", \.orthogonalizes),
      .flag("init_weights", \.hasStandardInitialization), .targetModules, .excludeModules,
      .layersToTransform, .layersPattern, .bias, .modulesToSave,
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("rank (r)", rank)
  }
}

extension HRAConfig: KernelMatrixMethod {
  static var kernelDimensions: ClosedRange<Int> { 2...2 }

  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    guard !orthogonalizes || rank <= site.inputSize else {
      throw misfit(
        site, field: "rank (r)", expected: "at most its \(site.inputSize) inputs with apply_GS",
        actual: "\(rank)")
    }
    let inPairs = hasStandardInitialization && rank % 2 == 0 && !orthogonalizes
    let start = site.linearUniform([site.inputSize, inPairs ? rank / 2 : rank])
    return HRAAdapter(
      inPairs ? Parameter(start.value.repeatedInterleaved(2, dimension: 1)) : start,
      orthogonalizes: orthogonalizes)
  }
}

/// Reflections of one layer's inputs.
final class HRAAdapter: LayerAdapter {
  let u: Parameter  // [in, rank]
  let orthogonalizes: Bool

  init(_ u: Parameter, orthogonalizes: Bool) {
    self.u = u
    self.orthogonalizes = orthogonalizes
  }

  var parameters: [AdapterParameter] { [AdapterParameter("hra_u", u)] }

  func input(_ x: Tensor, _ context: AdapterContext) -> Tensor {
    reflected(x.to(.computing(x.dtype, u.value.dtype)), transposed: true).to(x.dtype)
  }

  func merge(into layer: inout MergedLayer) {
    layer.weight = withoutGradients { reflected(layer.weight, transposed: false) }
  }

  /// Rows times H or H^T, without forming it.
  ///
  /// The product of reflections is I - U T U^T with T^-1 = I / 2 + the part of U^T U above its
  /// diagonal. Source: Joffrain et al. 2006,
  /// doi 10.1145/1141885.1141886.
  private func reflected(_ rows: Tensor, transposed: Bool) -> Tensor {
    let u = u.value.to(rows.dtype)
    let columns: Tensor  // [in, rank]
    let factor: Tensor  // [rank, in]
    if orthogonalizes {
      columns = u.qrDecomposition().q
      factor = columns.transposed() * 2
    } else {
      columns = u / u.norm([0], keepDimensions: true)
      let half =
        Tensor.identity(
          columns.size(1), dtype: columns.dtype, device: columns.device) * 0.5
      let inner = columns.transposed().matrixProduct(columns).upperTriangle(1) + half
      factor = (transposed ? inner.transposed() : inner).solve(columns.transposed())
    }
    return rows - rows.matrixProduct(columns).matrixProduct(factor)
  }
}
