import JSONValues
public import Models

/// Configuration of low-rank adaptation: y = x W^T + s x A^T B^T with A `[rank, inputSize]` and B
/// `[outputSize, rank]`.
///
/// Source: Hu et al. 2021, arXiv 2106.09685. Defaults are those of PEFT 0.21.2.
public struct LoRAConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "LORA"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Rank of the update.
  public var rank = 8
  /// Numerator of the scale s = alpha / rank, or alpha / sqrt(rank) with `usesRankStabilization`.
  public var alpha = 8.0
  /// Share of inputs of A that are dropped in training.
  public var dropout = 0.0
  /// rsLoRA: s = alpha / sqrt(rank).
  ///
  /// Source: Kalajdzievski 2023, arXiv 2312.03732.
  public var usesRankStabilization = false
  /// Ranks of single layers by an expression for the end of their path; the first match counts.
  public var rankPattern: [PathPattern<Int>] = []
  /// Alphas of single layers, likewise.
  public var alphaPattern: [PathPattern<Double>] = []
  /// How A and B start.
  public var initialization = Initialization.standard
  /// Tokens from whose last occurrence on the adapter acts (aLoRA); nil for an ordinary LoRA.
  ///
  /// Source: Greenewald et al. 2025, arXiv 2504.12397.
  public var invocationTokens: [Int]?
  /// Block-diagonal factors; nil for full ones.
  public var bdLoRA: BDLoRAConfig?
  /// KaSA's settings; nil for an ordinary LoRA.
  public var kasa: KaSAConfig?
  /// Training of A on compressed inputs; nil for an ordinary LoRA.
  public var veLoRA: VeLoRAConfig?
  /// Training of A among samples of a distribution; nil for an ordinary LoRA.
  public var monteCLoRA: MonteCLoRAConfig?
  /// Routing of tokens to other adapters; nil for an ordinary LoRA.
  public var arrow: ArrowConfig?
  /// Names of parameters that are adapted as `targetModules` are: weights of linear layers.
  public var targetParameters: [String] = []
  /// Ranges of the decoder's blocks, `[from, to)`, that make up the adapted model; nil for the blocks
  /// as they are.
  ///
  /// Blocks that are there more than once share their weights and have adapters of their own. The
  /// model keeps these blocks when the adapter is taken out. Merged weights are copies of each
  /// block's own, where PEFT adds all updates to the shared ones.
  public var layerReplication: [[Int]]?
  /// Whether embeddings and output head that are one table stay one in training: with either of them
  /// in `modulesToSave` or `targetModules` both have the same copy, or the same update.
  ///
  /// Nothing where the head has a weight of its own. PEFT 0.21.2 lets two updates share memory only.
  public var ensuresWeightTying = false
  /// Settings of the start `eva`; nil for PEFT's defaults.
  public var eva: EVAConfig?
  /// Settings of the start `corda`; nil for PEFT's defaults.
  public var corda: CorDAConfig?
  /// Settings of the start `loraGA`; nil for PEFT's defaults.
  public var loraGA: LoRAGAConfig?
  /// Settings of the start `loftq`; nil for PEFT's defaults.
  public var loftQ: LoftQConfig?
  /// DoRA: rows of W + s B A have trained lengths.
  ///
  /// Source: Liu et al. 2024, arXiv 2402.09353.
  public var usesDoRA = false
  /// Whether B's product has a trained bias, which is scaled with it.
  public var usesBias = false
  /// Tokens whose embeddings are trained beside the layers; nil for none.
  public var trainableTokens: TokenSelection?

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - taskType: What the model does; nil to leave it to the model.
  ///   - inferenceMode: Whether nothing of a new adapter is trained.
  ///   - rank: Rank of the update, positive.
  ///   - alpha: Numerator of the scale.
  ///   - dropout: Share of inputs of A that are dropped in training, in 0 ..< 1.
  ///   - targetModules: Layers that get an adapter; nil for those that PEFT has for the model's type.
  ///   - bias: Biases that are trained too.
  public init(
    taskType: ModelTask? = nil, inferenceMode: Bool = false, rank: Int = 8, alpha: Double = 8,
    dropout: Double = 0, targetModules: TargetModules? = nil, bias: BiasTraining = .none
  ) {
    if let taskType { origin.taskType = taskType.adapterType }
    origin.inferenceMode = inferenceMode
    self.rank = rank
    self.alpha = alpha
    self.dropout = dropout
    selection.targetModules = targetModules
    selection.bias = bias
  }

  /// Not with a start that is drawn, unless something else looks at weights.
  public var readsBlocks: Bool {
    let isDrawn = [.standard, .gaussian, .random, .orthogonal].contains(initialization)
    return !isDrawn || usesDoRA || kasa != nil || arrow != nil || selection.bias != .none
      || !modulesToSave.isEmpty || !targetParameters.isEmpty || layerReplication != nil
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .wholeNumber("lora_alpha", \.alpha),
      .number("lora_dropout", \.dropout), .flag("use_rslora", \.usesRankStabilization),
      .pattern("rank_pattern", \.rankPattern), .pattern("alpha_pattern", \.alphaPattern),
      .initialization, .flag("use_dora", \.usesDoRA), .flag("lora_bias", \.usesBias),
      .targetModules, .excludeModules, .layersToTransform, .layersPattern,
      .bias, .modulesToSave,
      .object("eva_config", \.eva, EVAConfig.fields, EVAConfig.init),
      .object("corda_config", \.corda, CorDAConfig.fields, CorDAConfig.init),
      .object("lora_ga_config", \.loraGA, LoRAGAConfig.fields, LoRAGAConfig.init),
      .object(
        "loftq_config", \.loftQ, LoftQConfig.fields, LoftQConfig.init, emptyIsNone: true),
      .integers("alora_invocation_tokens", \.invocationTokens),
      .object("use_bdlora", \.bdLoRA, BDLoRAConfig.fields, BDLoRAConfig.init),
      .object("kasa_config", \.kasa, KaSAConfig.fields, KaSAConfig.init),
      .strings("target_parameters", \.targetParameters), layerReplication,
      .object("arrow_config", \.arrow, ArrowConfig.fields, ArrowConfig.init),
      .flag("ensure_weight_tying", \.ensuresWeightTying),
      .fanInFanOut,
      .off("megatron_config", nil),
      .off("megatron_core", "megatron.core", ignoring: true),
      .object(
        "monteclora_config", \.monteCLoRA, MonteCLoRAConfig.fields, MonteCLoRAConfig.init),
      .off("qalora_group_size", 16, ignoring: true),
      .tokens(\.trainableTokens),
      .off("use_qalora", false),
      .object("velora_config", \.veLoRA, VeLoRAConfig.fields, VeLoRAConfig.init),
    ]
  }

  private static var layerReplication: ConfigurationField<Self> {
    ConfigurationField(
      "layer_replication",
      read: { (object, reader) throws(AdapterError) in
        guard let value = reader.value("layer_replication") else { return }
        let pairs = (value.arrayValue ?? []).map { $0.arrayValue?.compactMap(\.intValue) ?? [] }
        guard !pairs.isEmpty, pairs.allSatisfy({ $0.count == 2 }) else {
          throw reader.wrong("layer_replication", "a list of pairs of block numbers")
        }
        object.layerReplication = pairs
      },
      write: { object in
        object.layerReplication.map { .array($0.map { .array($0.map(JSON.integer)) }) } ?? .null
      })
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    for (name, value) in [("rank (r)", rank)]
      + rankPattern.map({ ("rank_pattern.\($0.pattern)", $0.value) })
    { try requirePositive(name, value) }
    try requireShare("lora_dropout", dropout)
    try requireFinite("lora_alpha", alpha)
    for (_, indices) in trainableTokens?.lists ?? [] {
      try checkTokens(indices, field: "trainable_token_indices")
    }
    try validateSettings()
    try validateVariants()
    guard usesBias else { return }
    try require("lora_bias", !usesDoRA, "false beside use_dora", true)
    let starts = [Initialization.standard, .random]
    try require(
      "lora_bias", starts.contains(initialization), "false unless init_lora_weights is a flag", true
    )
  }

  private func validateVariants() throws(AdapterError) {
    try require(
      "init_lora_weights and variants", variants.count <= 1, "one of them",
      variants.joined(separator: ", "))
    let tokens = invocationTokens ?? [0]
    try require("alora_invocation_tokens", !tokens.isEmpty, "at least one token", "none")
    if let bdLoRA { try requirePositive("use_bdlora.nblocks", bdLoRA.blocks) }
    if let kasa {
      try require("kasa_config.beta", kasa.beta >= 0, "0 or more", kasa.beta)
      try require("kasa_config.gamma", kasa.gamma >= 0, "0 or more", kasa.gamma)
    }
    if let veLoRA {
      try requirePositive("velora_config.num_groups", veLoRA.groupCount)
      try require("velora_config.scale", veLoRA.scale > 0, "a positive number", veLoRA.scale)
      try require(
        "velora_config", !initialization.changesBase, "null beside a start that changes the base",
        initialization.json.serialized())
      try require("lora_bias", !usesBias, "false beside velora_config", usesBias)
    }
    if let monteCLoRA { try check(monteCLoRA) }
    if let arrow {
      try requirePositive("arrow_config.top_k", arrow.topK)
      try require(
        "arrow_config.router_temperature", arrow.temperature > 0, "a positive number",
        arrow.temperature)
      try require(
        "arrow_config.gks_adapter_names", !arrow.subtractsGeneral || !arrow.generalAdapters.isEmpty,
        "at least one beside use_gks", "none")
    }
    if kasa != nil || bdLoRA != nil {
      try require(
        kasa != nil ? "kasa_config" : "use_bdlora",
        [.standard, .gaussian, .random].contains(initialization),
        "null beside a start that is computed from weights", initialization.json.serialized())
    }
    guard !targetParameters.isEmpty else { return }
    try require("lora_dropout", dropout == 0, "0 beside target_parameters", dropout)
    try require("lora_bias", !usesBias, "false beside target_parameters", usesBias)
    let variant = variants.first { !$0.hasSuffix("mica") }
    try require(variant ?? "", variant == nil, "off beside target_parameters", "set")
  }

  private func validateSettings() throws(AdapterError) {
    if let eva {
      try require("eva_config.rho", eva.rho >= 1, "at least 1", eva.rho)
      try require("eva_config.tau", (0...1).contains(eva.tau), "a number in 0...1", eva.tau)
    }
    try requirePositive("lora_ga_config.stable_gamma", loraGA?.stableGamma ?? 16)
    let (bits, rounds) = (loftQ?.bits ?? 4, loftQ?.iterations ?? 1)
    try require("loftq_config.loftq_bits", [4, 8].contains(bits), "4 or 8", bits)
    try requirePositive("loftq_config.loftq_iter", rounds)
  }

  /// Tables of patterns that give the same values in any order.
  ///
  /// - Parameter targets: Paths of the layers that have the adapter.
  /// - Returns: The configuration as a file may hold it.
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)`` for a pattern that is none.
  public func unambiguous(for targets: [String]) throws(AdapterError) -> Self {
    var result = self
    result.rankPattern = try rankPattern.unambiguous(for: targets, default: rank)
    result.alphaPattern = try alphaPattern.unambiguous(for: targets, default: alpha)
    return result
  }

  /// Scale of the update of a layer, as the patterns say.
  ///
  /// - Parameters:
  ///   - path: The layer's path, with or without what PEFT puts before it.
  ///   - rank: The layer's rank.
  /// - Returns: The factor of B A.
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)`` for a pattern that is none.
  public func scale(ofLayer path: String, rank: Int) throws(AdapterError) -> Double {
    let plain = path.hasPrefix(keyPrefix) ? path.dropFirst(keyPrefix.count) : path[...]
    return scale(rank: rank, alpha: try alphaPattern.value(for: String(plain), default: alpha))
  }

  /// Scale of the update of one layer.
  ///
  /// - Parameters:
  ///   - rank: The layer's rank.
  ///   - alpha: The layer's alpha.
  /// - Returns: alpha / rank, or alpha / sqrt(rank) with `usesRankStabilization`.
  public func scale(rank: Int, alpha: Double) -> Double {
    alpha / (usesRankStabilization ? Double(rank).squareRoot() : Double(rank))
  }
}
