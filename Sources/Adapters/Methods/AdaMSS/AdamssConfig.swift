import JSONValues

/// Configuration of adaptive multi-subspace updates: y_S = x W_S^T + x V A_S^T B_S^T for each of some
/// groups S of outputs.
///
/// W, with the layer's bias as a last column (and a last input of 1), is U diag(s) V^T with r singular
/// values. The rows of U, one for each output, are divided into groups by k-means; A_S `[k, r]` starts
/// as the first k right singular vectors of U's rows in S and B_S `[|S|, k]` as zero. V is stored.
///
/// With adaptive allocation the least important subspaces are frozen in training, with what they have
/// learnt: an element's importance is the running mean of |p g| times the running mean of how much that
/// varies, and a subspace's is the mean over A_S plus the mean over B_S. How many are trained falls from
/// all to `asaTarget` between the updates `asaStart` and `asaEnd`.
///
/// PEFT's files do not say which outputs a group has; they are found again from W, by the random numbers
/// and the k-means of scikit-learn that PEFT uses, which needs the same W. Files from here say it in
/// `adamss_scatter_index`, which PEFT 0.21.2 ignores, so that they can be opened on a W that was rounded.
/// PEFT's allocation keeps one subspace less than its configuration says, and forgets in a resumed run
/// which are frozen.
///
/// Source: Zheng et al. 2025, "AdaMSS: adaptive multi-subspace approach for parameter-efficient
/// fine-tuning" (NeurIPS). Defaults are those of PEFT 0.21.2.
public struct AdamssConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "ADAMSS"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Singular values r of W that are used; a layer has no more than its smaller size.
  public var rank = 100
  /// Groups of each layer's outputs.
  public var subspaceCount = 5
  /// Rank k of each group's update, at most r; a group has no more than its outputs.
  public var subspaceRank = 1
  /// Whether a fresh adapter changes nothing: B is zero; else it is normal with deviation 0.01.
  public var startsAtIdentity = true
  /// Whether k is the number of a group's singular values whose square is above `threshold` times the
  /// largest square, at most `subspaceRank`.
  public var usesDynamicRank = false
  /// See `usesDynamicRank`.
  public var threshold = 0.1
  /// Start of the random numbers of the decomposition.
  public var randomSeed = 0
  /// Whether subspaces are frozen in training.
  public var usesAllocation = false
  /// Subspaces of all layers together that are trained to the end.
  public var asaTarget = 50
  /// Updates before the first one whose importance counts.
  public var asaStart = 50
  /// Updates before the last one that may freeze a subspace.
  public var asaEnd = 1000
  /// Updates between two such.
  public var asaInterval = 100
  /// Weight of the past in an element's importance.
  public var importanceDecay = 0.85
  /// Weight of the past in the uncertainty of that.
  public var uncertaintyDecay = 0.85
  /// Power of the fall: 1 for a line.
  public var asaExponent = 3.0

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - rank: Singular values of W that are used.
  ///   - subspaceCount: Groups of each layer's outputs.
  ///   - subspaceRank: Rank of each group's update.
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(
    rank: Int = 100, subspaceCount: Int = 5, subspaceRank: Int = 1,
    targetModules: TargetModules? = nil
  ) {
    (self.rank, self.subspaceCount, self.subspaceRank) = (rank, subspaceCount, subspaceRank)
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .integer("num_subspaces", \.subspaceCount),
      .integer("subspace_rank", \.subspaceRank), initializationField,
      .flag("use_dynamic_rank", \.usesDynamicRank), .number("svd_threshold", \.threshold),
      .integer("random_seed", \.randomSeed), .flag("use_asa", \.usesAllocation),
      .integer("asa_target_subspaces", \.asaTarget), .integer("init_warmup", \.asaStart),
      .integer("final_warmup", \.asaEnd), .integer("mask_interval", \.asaInterval),
      .number("asa_importance_beta", \.importanceDecay),
      .number("asa_uncertainty_beta", \.uncertaintyDecay),
      .number("asa_schedule_exponent", \.asaExponent),
      .targetModules, .layersToTransform, .layersPattern, .modulesToSave,
    ]
  }

  /// "orthogonal", or null for random numbers, which is not the default here.
  private static var initializationField: ConfigurationField<Self> {
    ConfigurationField(
      "init_weights",
      read: { (object, reader) throws(AdapterError) in
        switch reader.json["init_weights"] {
        case nil, "orthogonal": object.startsAtIdentity = true
        case .null, false: object.startsAtIdentity = false
        default: throw reader.wrong("init_weights", "\"orthogonal\" or null")
        }
      }, write: { $0.startsAtIdentity ? "orthogonal" : .null })
  }

  /// As for LoRA, and for ViT.
  ///
  /// - Parameter modelType: The `model_type` of `config.json`.
  /// - Returns: Layers, or nil when they have to be named.
  public static func defaultTargets(modelType: String) -> TargetModules? {
    DefaultTargets.adamss[modelType]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    for (name, value) in [
      ("rank (r)", rank), ("num_subspaces", subspaceCount), ("subspace_rank", subspaceRank),
    ] { try requirePositive(name, value) }
    try require("svd_threshold", (0...1).contains(threshold), "from 0 to 1", threshold)
    try require("random_seed", randomSeed >= 0, "not negative", randomSeed)
    guard usesAllocation else { return }
    try requirePositive("asa_target_subspaces", asaTarget)
    try requirePositive("mask_interval", asaInterval)
    try require("init_warmup", asaStart >= 0, "not negative", asaStart)
    try require(
      "final_warmup", asaEnd > asaStart, "more than init_warmup (\(asaStart))", asaEnd)
    for (name, value) in [
      ("asa_importance_beta", importanceDecay), ("asa_uncertainty_beta", uncertaintyDecay),
    ] { try requireShare(name, value) }
    try require(
      "asa_schedule_exponent", asaExponent > 0 && asaExponent.isFinite, "a positive number",
      asaExponent)
  }
}
