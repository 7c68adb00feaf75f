import JSONValues
import Layers
import Tensors

/// Configuration of sparse changes in a basis that layers of one kind share: W becomes U (S + diag l) V^T.
///
/// V `[inputSize, inputSize]` comes from the weights of all layers with one role, for example all
/// `self_attn.q_proj`; U `[outputSize, inputSize]` has columns of length 1, and with the initial l
/// U diag(l) V^T is W. Trained are l `[inputSize]` and the elements of S `[inputSize, inputSize]` at places
/// off the diagonal that are drawn once for each role.
///
/// The update is computed as U (S + diag(l - l at the start)) V^T, so that a new adapter leaves outputs
/// exactly as they are and a part of W that V cannot express stays; PEFT 0.21.2 computes U (S + diag l) V^T
/// instead of W. U is computed again from the V of a file.
///
/// Defaults, initial numbers and files are those of PEFT 0.21.2.
public struct FRoDConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "FROD"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Share of the elements of S that are trained.
  public var sparseRate = 0.01
  /// Seed by which their places are drawn.
  public var projectionSeed = 0
  /// Added to the diagonal where V needs an inverse.
  public var regularization = 0.001
  /// Whether files hold V and the places; else both are computed anew.
  public var savesProjection = true
  /// Share of inputs that are dropped in training.
  public var dropout = 0.0
  /// Whether S starts with zeros, so that outputs do not change; else S and l are moved at random.
  public var startsAtIdentity = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - sparseRate: Share of the elements of S that are trained, in 0 ... 1.
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(sparseRate: Double, targetModules: TargetModules? = nil) {
    self.sparseRate = sparseRate
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .number("sparse_rate", \.sparseRate), .integer("projection_prng_key", \.projectionSeed),
      .number("regularization_alpha", \.regularization),
      .flag("save_projection", \.savesProjection), .number("frod_dropout", \.dropout),
      .flag("init_weights", \.startsAtIdentity), .targetModules, .layersToTransform,
      .layersPattern, .bias, .modulesToSave, .fanInFanOut,
      .off("progressbar", true, ignoring: true),
      .off("runtime_offload_base_weight", false, ignoring: true),
    ]
  }

  /// As for VeRA, and for ViT.
  ///
  /// - Parameter modelType: The `model_type` of `config.json`.
  /// - Returns: Layers, or nil when they have to be named.
  public static func defaultTargets(modelType: String) -> TargetModules? {
    DefaultTargets.frod[modelType]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try require("sparse_rate", (0...1).contains(sparseRate), "between 0 and 1", sparseRate)
    try require("regularization_alpha", regularization >= 0, "not negative", regularization)
    try requireShare("frod_dropout", dropout)
  }
}

extension FRoDConfig: LayerMethod {
  func adapters(for sites: [LayerSite]) throws(AdapterError) -> LayerAdapters {
    // Layers by role and block; of several with both in common the last counts, as in PEFT.
    var roles: [String: [Int: LayerSite]] = [:]
    for (index, site) in sites.enumerated() {
      roles[Self.role(site.path), default: [:]][Self.block(site.path) ?? index] = site
    }
    for site in sites {
      let width = roles[Self.role(site.path)]?.values.map(\.inputSize).max() ?? 0
      guard width == site.inputSize else {
        throw misfit(
          site, field: "target_modules", expected: "layers of one role with one input size",
          actual: "\(site.inputSize) beside \(width)")
      }
    }
    let generator = RedrawnNumbers.generator(seed: projectionSeed)
    var bases: [String: FRoDBasis] = [:]
    for (role, blocks) in roles.sorted(by: { $0.key < $1.key }) {
      let members = blocks.sorted { $0.key < $1.key }.map(\.value)
      guard let first = members.first else { continue }
      let size = first.inputSize
      let isStored = first.isLoading && savesProjection
      bases[role] = FRoDBasis(
        role: role, site: first,
        v: isStored
          ? first.zeros([size, size]).value
          : sharedBasis(members.map { $0.wideWeight().to(device: .cpu).to(.float32) }),
        places: isStored
          ? .empty([2, count(size)], dtype: .int64, device: .meta)
          : places(size, generator))
    }
    var layers: [FRoDAdapter] = []
    for site in sites {
      guard let basis = bases[Self.role(site.path)] else { continue }
      layers.append(
        FRoDAdapter(basis, site: site, startsAtIdentity: startsAtIdentity, dropout: dropout))
    }
    return LayerAdapters(
      layers: layers,
      shared: savesProjection
        ? bases.sorted { $0.key < $1.key }.flatMap { $0.value.parameters } : [])
  }

  /// The last two names of a path, which say what a layer is for.
  static func role(_ path: String) -> String {
    let parts = path.split(separator: ".")
    guard parts.count > 1, Int(parts[parts.count - 2]) == nil else {
      return String(parts.last ?? "")
    }
    let role = parts.suffix(2).joined(separator: "_")
    return role == "output_dense" && parts.count > 2 && parts[parts.count - 3] == "attention"
      ? "attention_output" : role
  }

  /// The number behind "layers", else the first number of a path.
  private static func block(_ path: String) -> Int? {
    let parts = path.split(separator: ".")
    if let index = parts.firstIndex(of: "layers"), index + 1 < parts.count,
      let number = Int(parts[index + 1])
    {
      return number
    }
    return parts.lazy.compactMap { Int($0) }.first
  }

  /// V from weights `[..., inputSize]`.
  private func sharedBasis(_ weights: [Tensor]) -> Tensor {
    let stacked = Tensor.concatenated(weights)
    guard stacked.size(0) >= stacked.size(1) else {
      return stacked.singularValueDecomposition(full: true).vt.transposed()
    }
    let (q, r) = stacked.qrDecomposition()
    let ridge = Tensor.identity(r.size(1)) * regularization
    var sum = Tensor.zeros(ridge.shape)
    for part in q.split(weights.map { $0.size(0) }, dimension: 0) {
      sum = sum + (part.transposed().matrixProduct(part) + ridge).inverse()
    }
    let vectors = (sum / Double(weights.count)).symmetricEigenDecomposition().vectors
    return r.transposed().matrixProduct(vectors)
  }

  /// How many elements of S are trained.
  private func count(_ size: Int) -> Int {
    let total = size * size - size
    let count = min(Int(Double(size * size) * sparseRate), total)
    return sparseRate > 0 && total > 0 ? max(1, count) : count
  }

  /// Rows and columns of the trained elements of S, int64 `[2, count]`.
  private func places(_ size: Int, _ generator: Generator) -> Tensor {
    let (total, count) = (size * size - size, count(size))
    guard count > 0 else { return .zeros([2, 0], dtype: .int64) }
    // Places off the diagonal, row by row.
    let drawn = Tensor.randomPermutation(total, generator: generator).narrowed(0, 0..<count)
      .array(of: Int.self)
    let rows = drawn.map { $0 / (size - 1) }
    let columns = zip(drawn, rows).map { place, row in
      let column = place % (size - 1)
      return column < row ? column : column + 1
    }
    return Tensor(rows + columns, shape: [2, count])
  }
}

/// What the layers of one role share.
final class FRoDBasis {
  let v: Parameter  // [in, in]
  let places: Parameter  // int64 [2, count]
  private let size: Parameter  // int64 [2]
  private let role: String

  init(role: String, site: LayerSite, v: Tensor, places: Tensor) {
    self.role = role
    self.v = Parameter(site.placed(v.to(site.dtype).contiguous()))
    self.places = Parameter(site.placed(places))
    size = Parameter(Tensor([site.inputSize, site.inputSize]))
  }

  var parameters: [AdapterParameter] {
    [("frod_V", v), ("frod_s_indices", places), ("frod_s_size", size)].map {
      AdapterParameter("\($0).\(role)", $1, isTrained: false)
    }
  }
}

/// The scales and sparse elements of one layer.
final class FRoDAdapter: LayerAdapter {
  let basis: FRoDBasis
  let site: LayerSite
  let lengths: Parameter  // l, [in]
  let elements: Parameter  // [count]
  let dropout: Double
  // Both come from V and W; of an adapter that is being loaded only when its V is there.
  private var u: Tensor  // [out, in]
  private var start: Tensor  // l at the start, [in]

  init(_ basis: FRoDBasis, site: LayerSite, startsAtIdentity: Bool, dropout: Double) {
    (self.basis, self.site, self.dropout) = (basis, site, dropout)
    let count = basis.places.value.size(1)
    elements = startsAtIdentity ? site.zeros([count]) : site.normal([count], deviation: 0.1)
    let moved = site.normal([site.inputSize], deviation: 0.1)
    guard !site.isLoading else {
      (u, start, lengths) = (moved.value, moved.value, moved)
      return
    }
    (u, start) = Self.factors(of: site, v: basis.v.value)
    lengths = Parameter(startsAtIdentity ? start.cloned() : start + moved.value)
  }

  /// U and l with U diag(l) V^T = W.
  private static func factors(of site: LayerSite, v: Tensor) -> (u: Tensor, lengths: Tensor) {
    let weight = site.wideWeight().to(device: .cpu).to(.float64)
    let wide = v.detached().to(device: .cpu).to(.float64)
    let scaled =
      wide.solutionIfRegular(weight.transposed())?.transposed()
      ?? weight.matrixProduct(wide.pseudoinverse(relativeTolerance: 1e-6).transposed())
    let lengths = scaled.norm([0])
    let u = (scaled / lengths.clamped(lower: 1e-300)).filled(where: lengths .<= 1e-12, 0)
    return (
      u.to(site.dtype).contiguous().to(device: site.device),
      lengths.to(site.dtype).to(device: site.device)
    )
  }

  var parameters: [AdapterParameter] {
    [
      AdapterParameter("frod_lambda_l", lengths),
      AdapterParameter("frod_lambda_s_values", elements),
    ]
  }

  func didLoad() throws(AdapterError) {
    let size = Double(site.inputSize)
    let places = basis.places.value
    guard places.count == 0 || (places.min().item() >= 0 && places.max().item() < size) else {
      throw .configuration(
        field: "frod_s_indices", expected: "places below \(site.inputSize)",
        actual: "\(places.min().item()) to \(places.max().item())")
    }
    (u, start) = Self.factors(of: site, v: basis.v.value)
  }

  /// S + diag(l - l at the start), `[in, in]`.
  private func change() -> Tensor {
    let size = site.inputSize
    let places = basis.places.value
    let diagonal = Tensor.arange(0, size * size, step: size + 1, device: places.device)
    // Whole numbers throughout: these exceed what float32 tells apart.
    let width = Tensor([size]).to(device: places.device)
    let flat = places.selected(0, 0) * width + places.selected(0, 1)
    let values = Tensor.concatenated([lengths.value - start, elements.value])
    return Tensor.zeros([size * size], dtype: values.dtype, device: values.device)
      .scattering(0, .concatenated([diagonal, flat]), values)
      .reshaped([size, size])
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let inner = context.dropped(x, dropout).to(u.dtype).matrixProduct(basis.v.value)
    return y.adding(wide: inner.linear(change()).linear(u))
  }

  func merge(into layer: inout MergedLayer) {
    let delta = u.matrixProduct(change()).matrixProduct(basis.v.value.transposed())
    layer.weight.addInPlace(delta.to(layer.weight.dtype))
  }
}
