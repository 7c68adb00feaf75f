import Layers
import Tensors

/// Configuration of low-rank interconnected adaptation: y = x W^T + scaling (x A^T) B with A `[rank,
/// inputSize]` and B `[rank, outputSize]` a mixture of experts that layers share.
///
/// Layers of one name and shape share the experts, and each `stride` of them in their order share A. A
/// layer's own router weighs the experts by softmax for each token; one mixture, the mean over all
/// tokens of the batch, serves the whole batch, so that a row's result depends on the others. It cannot
/// be merged.
///
/// Where several names of a list fit a layer, the longest groups it; in PEFT 0.21.2 that changes from
/// run to run.
///
/// Source: Zhong et al. 2024, arXiv 2407.09946. Defaults are those of PEFT 0.21.2.
public struct LilyConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "LILY"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Rank of the update.
  public var rank = 32
  /// How many layers in a row share A.
  public var stride = 1
  /// Experts of a group of layers, at least two.
  public var expertCount = 2
  /// Factor of the update.
  public var scaling = 1.0
  /// Whether a fresh adapter changes nothing: the experts are zero; else they are random too.
  public var startsAtIdentity = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .integer("stride_A", \.stride), .integer("num_B", \.expertCount),
      .number("scaling", \.scaling), .flag("init_weights", \.startsAtIdentity), .targetModules,
      .excludeModules, .layersToTransform, .layersPattern, .modulesToSave,
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("rank (r)", rank)
    try requirePositive("stride_A", stride)
    try require("num_B", expertCount >= 2, "at least 2", expertCount)
    try requireFinite("scaling", scaling)
  }
}

extension LilyConfig: LayerMethod {
  static var isMergeable: Bool { false }
  static var groupsByTargetName: Bool { true }

  func adapters(for sites: [LayerSite]) throws(AdapterError) -> LayerAdapters {
    var groups: [Group: (count: Int, a: Parameter, b: Parameter)] = [:]
    var made: [any LayerAdapter] = []
    for site in sites {
      let key = Group(name: name(of: site.path), inputs: site.inputSize, outputs: site.outputSize)
      func newA() -> Parameter { site.linearUniform([rank, site.inputSize]) }
      func newB() -> Parameter {
        let shape = [expertCount * rank, site.outputSize]
        return startsAtIdentity ? site.zeros(shape) : site.linearUniform(shape)
      }
      var group = groups[key] ?? (0, newA(), newB())
      if group.count > 0, group.count.isMultiple(of: stride) { group.a = newA() }
      group.count += 1
      groups[key] = group
      made.append(
        LilyAdapter(
          a: group.a, b: group.b, router: site.linearUniform([expertCount, rank]),
          scaling: scaling))
    }
    return LayerAdapters(layers: made)
  }

  /// The longest target name that a path ends with; an expression makes one group.
  private func name(of path: String) -> String {
    guard case .names(let names) = targetModules else { return "" }
    return names.filter { TargetMatching.matches(path, $0) }.max { $0.count < $1.count } ?? ""
  }

  private struct Group: Hashable {
    let name: String
    let inputs, outputs: Int
  }
}

final class LilyAdapter: LayerAdapter {
  let a: Parameter  // [rank, in], shared by neighbours
  let b: Parameter  // [experts * rank, out], shared by the group
  let router: Parameter  // [experts, rank]
  let scaling: Double

  init(a: Parameter, b: Parameter, router: Parameter, scaling: Double) {
    self.a = a
    self.b = b
    self.router = router
    self.scaling = scaling
  }

  var parameters: [AdapterParameter] {
    [
      AdapterParameter("lily_A.weight", a), AdapterParameter("lily_B.weight", b),
      AdapterParameter("lily_router.weight", router),
    ]
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let hidden = x.to(a.value.dtype).rows().linear(a.value)  // [N, rank]
    let shares = hidden.linear(router.value).softmax().mean([0], keepDimensions: true)
    let experts = b.value.reshaped([shares.size(1), -1])  // [experts, rank * out]
    let mixture = shares.matrixProduct(experts).reshaped([hidden.size(1), -1])  // [rank, out]
    let update = hidden.matrixProduct(mixture) * scaling
    return y.adding(wide: update.reshaped(y.shape))
  }

  func merge(into layer: inout MergedLayer) {
    preconditionFailure("LILY: merging is refused before it begins")
  }
}
