import JSONValues
import Layers
import Tensors

/// Settings of Arrow: each token is routed to those of some LoRA adapters that it fits best.
///
/// An adapter's prototype in a layer is the leading right singular vector v of its B A. A token x gets
/// the softmax over the `topK` largest |x . v| / `temperature` as the weights of the adapters' updates.
///
/// Source: Ostapenko et al. 2024, arXiv 2405.11157; subtraction of general knowledge: Bagherifard et al.
/// 2025, GenKnowSub, ACL 2025 (short papers, 54).
public struct ArrowConfig: Equatable, Sendable {
  /// How many adapters a token gets.
  public var topK = 3
  /// What scores are divided by before the softmax.
  public var temperature = 1.0
  /// Whether the mean A and the mean B of `generalAdapters` are subtracted from those of each adapter.
  public var subtractsGeneral = false
  /// Names of the adapters that tokens are routed to, which are in the model already.
  public var taskAdapters: [String] = []
  /// Names of the adapters whose mean is subtracted.
  public var generalAdapters: [String] = []
  /// Kept for PEFT, which finds prototypes by 15 rounds from a random vector; here they are exact.
  public var seed: Int?

  /// Makes PEFT's defaults.
  public init() {}

  static var fields: [ConfigurationField<Self>] {
    [
      .integer("top_k", \.topK), .number("router_temperature", \.temperature),
      .flag("use_gks", \.subtractsGeneral), .strings("task_adapter_names", \.taskAdapters),
      .strings("gks_adapter_names", \.generalAdapters), .integer("rng_seed", \.seed),
    ]
  }
}

/// The weighted sum of other adapters' updates, with weights for each token.
///
/// A and B of its own are in files alone. The other adapters stay as they are, also where a mean is
/// subtracted; PEFT subtracts it in place. Dropout acts on the sum, as in PEFT.
final class ArrowRouter: LayerAdapter {
  let parameters: [AdapterParameter]
  private let arrow: ArrowConfig
  private let dropout: Double
  private let experts: [LoRAFactors]
  private let general: [LoRAFactors]
  private var found: Tensor?

  init(
    _ arrow: ArrowConfig, dropout: Double, own: [AdapterParameter], experts: [LoRAFactors],
    general: [LoRAFactors]
  ) {
    (self.arrow, self.dropout, parameters) = (arrow, dropout, own)
    (self.experts, self.general) = (experts, general)
  }

  /// A and B of each adapter, less the mean.
  private func updates() -> [(a: Tensor, b: Tensor, scale: Double)] {
    let count = Double(general.count)
    let others = general.map { $0.trained() }
    func mean(_ factor: ((a: Tensor, b: Tensor)) -> Tensor) -> Tensor? {
      others.dropFirst().reduce(others.first.map(factor)) { sum, next in
        sum.map { $0 + factor(next) }
      }.map { $0.detached() / count }
    }
    let (a, b) = (mean { $0.a }, mean { $0.b })
    return experts.map { expert in
      let (own, other) = expert.trained()
      return (a.map { own - $0 } ?? own, b.map { other - $0 } ?? other, expert.scale)
    }
  }

  /// Leading right singular vectors, `[adapters, inputSize]`.
  private func prototypes(_ updates: [(a: Tensor, b: Tensor, scale: Double)]) -> Tensor {
    if let found { return found }
    let made = withoutGradients {
      Tensor.concatenated(
        updates.map { a, b, _ in
          // B A = Q (R A) with the singular vectors of R A, which is small.
          let wide = DType.computing(a.dtype)
          let small = b.detached().to(wide).qrDecomposition().r
            .matrixProduct(a.detached().to(wide))
          return small.singularValueDecomposition().vt.narrowed(0, 0..<1).to(a.dtype)
        })
    }
    found = made
    return made
  }

  /// The weights of the adapters, `[tokens, adapters]`.
  private func weights(_ rows: Tensor, _ prototypes: Tensor) -> Tensor {
    let scores = rows.linear(prototypes).absolute()
    let chosen = scores.detached().largest(arrow.topK).indices
    let zeros = scores.detached().zerosLike()
    let ones = Tensor.ones(chosen.shape, dtype: scores.dtype, device: scores.device)
    let isLeftOut = zeros.scattering(1, chosen, ones) .== 0
    return (scores / arrow.temperature).filled(where: isLeftOut, -.infinity).softmax()
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let updates = updates()
    guard let type = updates.first?.a.dtype else { return y }
    let rows = x.to(type).rows()
    let weights = weights(rows, prototypes(updates))
    let narrow = updates.enumerated().map { index, update in
      rows.linear(update.a) * weights.narrowed(1, index..<index + 1) * update.scale
    }
    let wide = Tensor.concatenated(updates.map(\.b), dimension: 1)
    let sum = Tensor.concatenated(narrow, dimension: 1).linear(wide).reshaped(y.shape)
    return y.adding(wide: context.dropped(sum, dropout))
  }

  func merge(into layer: inout MergedLayer) { preconditionFailure("a router cannot be merged") }

  func obstacle(toMergingInto base: any LinearProjection) -> String? {
    "has another update for each token (arrow_config)"
  }

  func didLoad() throws(AdapterError) { found = nil }
}

extension LoRAConfig {
  /// The router of a layer.
  func router(
    _ arrow: ArrowConfig, _ site: LayerSite, rank: Int
  ) throws(AdapterError) -> ArrowRouter {
    func factors(_ names: [String], _ field: String) throws(AdapterError) -> [LoRAFactors] {
      var result: [LoRAFactors] = []
      for name in names {
        let found = site.neighbours.first { $0.name == name }?.adapter as? LoRAAdapter
        guard let found, found.isProduct, found.factors.start == nil else {
          throw misfit(
            site, field: "arrow_config." + field, expected: "plain LoRA adapters of this layer",
            actual: name)
        }
        result.append(found.factors)
      }
      return result
    }
    let experts = try factors(arrow.taskAdapters, "task_adapter_names")
    let general =
      arrow.subtractsGeneral ? try factors(arrow.generalAdapters, "gks_adapter_names") : []
    guard arrow.topK <= experts.count else {
      throw misfit(
        site, field: "arrow_config.top_k", expected: "at most \(experts.count) adapters",
        actual: "\(arrow.topK)")
    }
    let ranks = Set((general.isEmpty ? [] : experts + general).map { $0.a.value.size(0) })
    guard ranks.count <= 1 else {
      throw misfit(
        site, field: "arrow_config.use_gks", expected: "false, as ranks differ", actual: "true")
    }
    let own = [
      AdapterParameter(
        "lora_A.weight", site.linearUniform([rank, site.inputSize]), isTrained: false),
      AdapterParameter("lora_B.weight", site.zeros([site.outputSize, rank]), isTrained: false),
    ]
    return ArrowRouter(arrow, dropout: dropout, own: own, experts: experts, general: general)
  }
}

extension PeftModel {
  /// Adds a router over LoRA adapters that are there, and lets it act.
  ///
  /// Later changes of those adapters count, but for their prototypes, which stay.
  ///
  /// - Parameters:
  ///   - arrow: The adapters and how tokens are routed.
  ///   - name: The router's name.
  /// - Throws: ``AdapterError`` when an adapter is not there, is no plain LoRA, or has other layers
  ///   than the first.
  public func addArrowRouter(
    _ arrow: ArrowConfig, name: String = "arrow_router"
  ) throws(AdapterError) {
    guard let first = arrow.taskAdapters.first else {
      throw .configuration(
        field: "arrow_config.task_adapter_names", expected: "at least one", actual: "none")
    }
    let targets = try adapter(named: first).targets
    for other in arrow.taskAdapters + (arrow.subtractsGeneral ? arrow.generalAdapters : []) {
      guard try adapter(named: other).targets == targets else {
        throw .conflict("\(other) is on other layers than \(first); a router needs the same")
      }
    }
    var config = LoRAConfig()
    if let own = try adapter(named: first).configuration as? LoRAConfig {
      (config.rank, config.alpha) = (own.rank, own.alpha)
      config.origin = own.origin
      config.modulesToSave = []
    }
    config.targetModules = .names(
      TargetMatching(base).shortestNames(for: targets, among: basePaths))
    config.arrow = arrow
    try addAdapter(name, config)
    try setAdapter([name])
  }
}
