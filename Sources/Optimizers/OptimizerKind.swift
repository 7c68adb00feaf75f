public import Checkpoints
public import Layers
import Tensors

/// The optimisers by the names that recipes use.
///
/// `adamw` is ``AdamW``. The rules of ``FusedOptimizer`` go by their own names, with `-8bit` behind for
/// a state in codes and `paged-` before for one in a file; `paged-adamw` is among them.
public enum OptimizerKind: Hashable, Sendable {
  /// ``AdamW``, in torch's order of operations.
  case adamW
  /// ``FusedOptimizer``.
  case fused(UpdateRule, stateBits: Int, isPaged: Bool)

  /// Finds an optimiser.
  ///
  /// - Parameter name: One of ``names``, or what transformers calls one with a state of that kind, for
  ///   example `paged_adamw_8bit`, `adamw_bnb_8bit`, `lion_32bit` or `adamw_torch_fused`; nil for
  ///   others.
  public init?(_ name: String) {
    var words = name.lowercased().split { $0 == "-" || $0 == "_" }.map(String.init)
    let isPaged = words.first == "paged"
    if isPaged { words.removeFirst() }
    guard let first = words.first, let rule = UpdateRule(rawValue: first) else { return nil }
    switch words.dropFirst().joined(separator: "-") {
    case "", "32bit", "bnb-32bit", "bnb":
      self = rule == .adamW && !isPaged ? .adamW : .fused(rule, stateBits: 32, isPaged: isPaged)
    case "8bit", "bnb-8bit": self = .fused(rule, stateBits: 8, isPaged: isPaged)
    case "torch", "torch-fused":
      guard rule == .adamW && !isPaged else { return nil }
      self = .adamW
    default: return nil
    }
  }

  /// What it does to a parameter.
  public var rule: UpdateRule {
    switch self {
    case .adamW: .adamW
    case .fused(let rule, _, _): rule
    }
  }

  /// Its name.
  public var name: String {
    switch self {
    case .adamW: rule.rawValue
    case .fused(let rule, let stateBits, let isPaged):
      (isPaged ? "paged-" : "") + rule.rawValue + (stateBits == 8 ? "-8bit" : "")
    }
  }

  /// Whether it can go on with the state of another one; where a state lies does not matter.
  ///
  /// - Parameter other: What made the state.
  /// - Returns: Whether rule and kind of state are the same.
  public func continues(_ other: OptimizerKind) -> Bool {
    switch (self, other) {
    case (.adamW, .adamW): true
    case (.fused(let rule, let bits, _), .fused(let otherRule, let otherBits, _)):
      rule == otherRule && bits == otherBits
    case (.adamW, .fused), (.fused, .adamW): false
    }
  }

  /// Every name.
  public static let names: [String] = UpdateRule.allCases.flatMap { rule in
    ["", "paged-"].flatMap { before in ["", "-8bit"].map { before + rule.rawValue + $0 } }
  }

  /// What some rules take; nil for a rule's default.
  public struct Settings: Equatable, Sendable {
    /// Weight decay.
    public var weightDecay = 0.0
    /// Decay of the mean gradient, or momentum.
    public var beta1: Double?
    /// Decay of the mean squared gradient.
    public var beta2: Double?
    /// Added to the root of the mean squared gradient.
    public var epsilon: Double?

    /// Makes the default settings.
    public init() {}
  }

  /// Makes the optimiser.
  ///
  /// Tables of embeddings have a float32 state in any case, as transformers arranges it with
  /// bitsandbytes: their rows get gradients rarely, and of very different sizes.
  ///
  /// - Parameters:
  ///   - parameters: What to train, with names for the saved state.
  ///   - settings: What some rules take.
  ///   - stateDirectory: Where a paged state lies; made if it is missing.
  ///   - whole: For names of parts of parameters, what they are parts of; its shape and size decide
  ///     about decay and codes.
  /// - Returns: An optimiser with a state of zeros.
  /// - Throws: `CheckpointError` when there is no room for a paged state.
  public func make(
    _ parameters: [(name: String, parameter: Parameter)], _ settings: Settings,
    stateDirectory: String, partsOf whole: [String: Parameter] = [:]
  ) throws(CheckpointError) -> any Optimizer {
    func decays(_ name: String, _ parameter: Parameter) -> Bool {
      (whole[name] ?? parameter).value.rank > 1
    }
    switch self {
    case .adamW:
      var configuration = AdamWConfiguration(weightDecay: settings.weightDecay)
      if let beta1 = settings.beta1 { configuration.beta1 = beta1 }
      if let beta2 = settings.beta2 { configuration.beta2 = beta2 }
      if let epsilon = settings.epsilon { configuration.epsilon = epsilon }
      return AdamW(parameters, configuration, decays: decays)
    case .fused(let rule, let stateBits, let isPaged):
      var configuration = FusedOptimizerConfiguration(
        rule, stateBits: stateBits, weightDecay: settings.weightDecay)
      if let beta1 = settings.beta1 { configuration.beta1 = beta1 }
      if let beta2 = settings.beta2 { configuration.beta2 = beta2 }
      if let epsilon = settings.epsilon { configuration.epsilon = epsilon }
      if isPaged { try makeDirectory(stateDirectory) }
      return try FusedOptimizer(
        parameters, configuration, decays: decays, stateDirectory: isPaged ? stateDirectory : nil
      ) { name, _, own in
        if let parameter = whole[name] {
          own.minimum8bitCount = parameter.count < own.minimum8bitCount ? Int.max : 0
        }
        if name.contains("embed_tokens") { own.stateBits = 32 }
      }
    }
  }
}
