public import Layers
import Models
import Tensors

/// How an adapter is taken out of a full fine-tune.
public struct ExtractionOptions: Equatable, Sendable {
  /// How singular values are found.
  public enum Algorithm: String, CaseIterable, Sendable {
    /// Exactly where a layer's smaller side is at most 1,536 or a share of the energy is asked for,
    /// else by random projections.
    case automatic = "auto"
    /// All of them.
    case exact
    /// The leading ones, by random projections.
    case randomized
  }

  /// Rank of each layer, or the energy to keep.
  public var choice = RankChoice.rank(16)
  /// How singular values are found.
  public var algorithm = Algorithm.automatic
  /// Layers to look at; nil for every linear one, the output head too.
  public var targets: TargetModules?
  /// Whether changed norms, embeddings and the like are kept as modules that are trained whole, and
  /// changed biases as trained biases.
  public var keepsOtherParameters = false
  /// Start of the random numbers of `randomized`.
  public var seed: UInt64 = 0
  /// Name or directory of the base, for the adapter's file.
  public var baseModel: String?

  /// Makes the default options.
  public init() {}
}

/// What an extraction found.
public struct ExtractionReport: Sendable {
  /// The layers that have an update, in the order of the model.
  public var layers: [LayerLoss] = []
  /// Linear layers that are the same in both models.
  public var unchanged: [String] = []
  /// Changed parameters that are no linear weight, with ||difference|| / ||base||.
  public var others: [(path: String, relativeNorm: Double)] = []
  /// Whether the adapter has them.
  public var keepsOthers = false
}

extension PeftModel {
  /// Takes the best low-rank adapter out of a model that was trained as a whole.
  ///
  /// Each linear layer's update W' - W becomes its nearest one of the rank, B and A having the roots of
  /// the singular values; the scale is 1. The models are gone through layer by layer, so that weights
  /// mapped from files are read once and nothing but the adapter stays in memory.
  ///
  /// - Parameters:
  ///   - tuned: The model after training.
  ///   - base: The model before; changed in place, as it gets the adapter.
  ///   - options: Rank, layers, and what else is kept.
  ///   - progress: Called after each layer with its number and the number of all.
  /// - Returns: The base with the adapter, which acts, and what was lost.
  /// - Throws: ``DecompositionError`` when the models differ in their layers or shapes, have weights
  ///   that are not finite, or are the same; ``AdapterError`` when the targets fit no layer.
  public static func extracting(
    _ tuned: some Module, base: Base, options: ExtractionOptions = ExtractionOptions(),
    progress: (_ layer: Int, _ count: Int) -> Void = { _, _ in }
  ) throws -> (model: PeftModel, report: ExtractionReport) {
    try options.choice.validate()
    var extraction = Extraction(base: base, tuned: tuned, options: options)
    try extraction.compare(progress)
    guard let configuration = extraction.configuration() else {
      throw DecompositionError.mismatch(
        what: "the models", expected: "linear layers that differ", actual: "the same weights")
    }
    let model = try PeftModel(base, configuration, "default", seed: 0, isStrict: false)
    for (key, parameter) in model.adapterParameters() {
      guard let value = extraction.value(of: key) else {
        throw AdapterError.keys(path: "the extracted adapter", missing: [key], unexpected: [])
      }
      parameter.value = value.to(parameter.value.dtype).to(device: parameter.value.device)
    }
    try model.setAdapter(["default"])
    return (model, extraction.report)
  }
}

/// Two models side by side.
private struct Extraction {
  let base: any Module
  let tuned: any Module
  let options: ExtractionOptions
  var report = ExtractionReport()
  private var updates: [String: LowRankUpdate] = [:]

  init(base: any Module, tuned: any Module, options: ExtractionOptions) {
    (self.base, self.tuned, self.options) = (base, tuned, options)
  }

  mutating func compare(_ progress: (Int, Int) -> Void) throws {
    let (old, new) = (Self.linearLayers(base), Self.linearLayers(tuned))
    try Self.checkNames("linear layers", old.map(\.path), new.map(\.path))
    try compareOthers()
    var chosen = Set(old.map(\.path))
    if let targets = options.targets {
      var probe = LoRAConfig(targetModules: targets)
      probe.modulesToSave = []
      chosen = Set(try TargetMatching(base).targets(of: probe, isStrict: true))
    }
    let pairs = zip(old, new).filter { chosen.contains($0.0.path) }
    for (index, (before, after)) in pairs.enumerated() {
      try compare(before.path, before.layer, after.layer)
      progress(index + 1, pairs.count)
    }
  }

  private mutating func compare(_ path: String, _ before: Linear, _ after: Linear) throws {
    let (old, new) = (before.projection.denseWeight(), after.projection.denseWeight())
    guard old.shape == new.shape else {
      throw DecompositionError.mismatch(
        what: path, expected: "a weight of shape \(old.shape), as in the base",
        actual: "\(new.shape)")
    }
    guard old.isAllFinite, new.isAllFinite else {
      throw DecompositionError.notFinite(
        what: "\(path).weight of the \(old.isAllFinite ? "tuned model" : "base")")
    }
    let wide = old.widest
    let difference = new.widest.to(device: wide.device) - wide
    let full = min(old.size(0), old.size(1))
    guard difference.absolute().max().item() > 0 else {
      report.unchanged.append(path)
      return
    }
    let found = try decomposition(of: difference, full, path)
    let rank: Int
    switch options.choice {
    case .rank(let wanted): rank = min(wanted, full)
    case .energy(let share): rank = found.rank(retaining: share) ?? full
    }
    let norm = wide.energy.squareRoot()
    let made = found.update(rank: rank, scale: 1)
    updates[path] = LowRankUpdate(a: made.a.to(.float32), b: made.b.to(.float32))
    report.layers.append(
      LayerLoss(
        path: path, rankBefore: full, rank: rank, energy: found.energy,
        lost: found.lostShare(atRank: rank),
        relativeNorm: norm > 0 ? found.energy.squareRoot() / norm : nil))
  }

  private func decomposition(
    of difference: Tensor, _ full: Int, _ path: String
  ) throws(DecompositionError) -> SingularValueDecomposition {
    let rank: Int
    switch (options.choice, options.algorithm) {
    case (.energy, .randomized):
      throw .outOfRange(
        field: "algorithm", expected: "exact, which a share of the energy needs",
        actual: "randomized")
    case (.rank(let wanted), .randomized): rank = wanted
    case (.rank(let wanted), .automatic) where full > 1536 && wanted < full / 8: rank = wanted
    default: return try SingularValueDecomposition(difference, name: path)
    }
    var random = RandomizedOptions()
    random.seed = options.seed
    return try SingularValueDecomposition(
      randomized: difference, rank: min(rank, full), options: random, name: path)
  }

  /// Parameters that are no linear weight.
  private mutating func compareOthers() throws {
    let (old, new) = (Self.otherParameters(base), Self.otherParameters(tuned))
    try Self.checkNames("parameters", old.map(\.path), new.map(\.path))
    for (before, after) in zip(old, new) {
      let (first, second) = (before.parameter.value.detached(), after.parameter.value.detached())
      guard first.shape == second.shape else {
        throw DecompositionError.mismatch(
          what: before.path, expected: "shape \(first.shape), as in the base",
          actual: "\(second.shape)")
      }
      guard second.isAllFinite, first.isAllFinite else {
        throw DecompositionError.notFinite(
          what: "\(before.path) of the \(first.isAllFinite ? "tuned model" : "base")")
      }
      let wide = first.widest
      let difference = (second.widest.to(device: wide.device) - wide).norm().item()
      let norm = wide.norm().item()
      if difference > 0 {
        report.others.append((before.path, norm > 0 ? difference / norm : .infinity))
      }
    }
    report.keepsOthers = options.keepsOtherParameters && !report.others.isEmpty
  }

  /// The adapter's configuration; nil when there is no update.
  func configuration() -> LoRAConfig? {
    guard !updates.isEmpty else { return nil }
    var result = LoRAConfig()
    result.baseModel = options.baseModel
    let paths = base.modules().map(\.path)
    let targets = report.layers.map(\.path)
    result.targetModules = .names(
      TargetMatching(base).shortestNames(for: targets, among: paths))
    // Paths are whole, so that no two patterns can match one layer.
    try? result.describe(report.layers.map { ($0.path, $0.rank, Double($0.rank)) })
    guard report.keepsOthers else { return result }
    var whole: [String] = []
    for (path, _) in report.others {
      let owner = path.split(separator: ".").dropLast().joined(separator: ".")
      if updates[owner] != nil {
        result.selection.bias = .loraOnly
      } else if !whole.contains(owner) {
        whole.append(owner)
      }
    }
    result.modulesToSave = whole
    return result
  }

  /// The numbers of one of the adapter's tensors.
  func value(of key: String) -> Tensor? {
    let path = String(key.dropFirst(keyPrefix.count))
    for (suffix, factor) in [(".lora_A.weight", \LowRankUpdate.a), (".lora_B.weight", \.b)]
    where path.hasSuffix(suffix) {
      return updates[String(path.dropLast(suffix.count))]?[keyPath: factor]
    }
    // Biases of adapted layers have the place of the layer before in their keys.
    let parts = path.split(separator: ".").filter { $0 != "base_layer" }
    let plain = parts.joined(separator: ".")
    return tuned.parameters().first { $0.path == plain }?.parameter.value.detached().cloned()
  }

  private static func linearLayers(_ model: any Module) -> [(path: String, layer: Linear)] {
    model.modules().compactMap { entry in
      (entry.module as? Linear).map { (entry.path, $0) }
    }.sorted { $0.path < $1.path }
  }

  /// Each parameter once, but for the weights of linear layers.
  private static func otherParameters(
    _ model: any Module
  ) -> [(path: String, parameter: Parameter)] {
    let weights = Set(linearLayers(model).map { joined($0.path, "weight") })
    return model.parameters().filter { !weights.contains($0.path) }.sorted { $0.path < $1.path }
  }

  private static func checkNames(
    _ what: String, _ old: [String], _ new: [String]
  ) throws(DecompositionError) {
    guard old == new else {
      let (missing, added) = (Set(old).subtracting(new), Set(new).subtracting(old))
      func list(_ names: Set<String>) -> String {
        names.isEmpty
          ? "none"
          : names.sorted().prefix(3).joined(separator: ", ")
            + (names.count > 3 ? " and \(names.count - 3) more" : "")
      }
      throw .mismatch(
        what: "\(what) of the tuned model", expected: "those of the base",
        actual: "missing \(list(missing)); additional \(list(added))")
    }
  }
}
