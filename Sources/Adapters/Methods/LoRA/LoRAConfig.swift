import JSONValues

/// Configuration of low-rank adaptation: y = x W^T + s x A^T B^T with A `[rank, inputSize]` and B
/// `[outputSize, rank]`.
///
/// Source: Hu et al. 2021, arXiv 2106.09685. Defaults are those of PEFT 0.21.2.
public struct LoRAConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "LORA"

  /// How A and B start.
  public enum Initialization: Equatable, Sendable {
    /// A uniform in ±1/sqrt(inputSize), B zero.
    case standard
    /// A normal with standard deviation 1/rank, B zero.
    case gaussian
    /// Both uniform as a new linear layer's weight, so that the output changes at once.
    case random
  }

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
  /// Tokens whose embeddings are trained beside the layers; nil for none.
  public var trainableTokens: TokenSelection?

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - rank: Rank of the update, positive.
  ///   - alpha: Numerator of the scale.
  ///   - dropout: Share of inputs of A that are dropped in training, in 0 ..< 1.
  ///   - targetModules: Layers that get an adapter; nil for q_proj and v_proj.
  ///   - bias: Biases that are trained too.
  public init(
    rank: Int = 8, alpha: Double = 8, dropout: Double = 0, targetModules: TargetModules? = nil,
    bias: BiasTraining = .none
  ) {
    self.rank = rank
    self.alpha = alpha
    self.dropout = dropout
    selection.targetModules = targetModules
    selection.bias = bias
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .wholeNumber("lora_alpha", \.alpha),
      .number("lora_dropout", \.dropout), .flag("use_rslora", \.usesRankStabilization),
      .pattern("rank_pattern", \.rankPattern), .pattern("alpha_pattern", \.alphaPattern),
      initializationField, .targetModules, .excludeModules, .layersToTransform, .layersPattern,
      .bias, .modulesToSave,
      .off("alora_invocation_tokens", nil), .off("arrow_config", nil), .off("corda_config", nil),
      .off("ensure_weight_tying", false), .off("eva_config", nil), .off("fan_in_fan_out", false),
      .off("kasa_config", nil), .off("layer_replication", nil),
      .off("loftq_config", [:], ignoring: true), .off("lora_bias", false),
      .off("lora_ga_config", nil), .off("megatron_config", nil),
      .off("megatron_core", "megatron.core", ignoring: true), .off("monteclora_config", nil),
      .off("qalora_group_size", 16, ignoring: true), .off("target_parameters", nil),
      .tokens(\.trainableTokens), .off("use_bdlora", nil), .off("use_dora", false),
      .off("use_qalora", false), .off("velora_config", nil),
    ]
  }

  private static var initializationField: ConfigurationField<Self> {
    ConfigurationField(
      "init_lora_weights",
      read: { (object, reader) throws(AdapterError) in
        guard let value = reader.value("init_lora_weights") else { return }
        switch value {
        case true: object.initialization = .standard
        case false: object.initialization = .random
        case "gaussian": object.initialization = .gaussian
        default: throw .unsupported(field: "init_lora_weights", value: value.serialized())
        }
      },
      write: { object in
        switch object.initialization {
        case .standard: true
        case .gaussian: "gaussian"
        case .random: false
        }
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
