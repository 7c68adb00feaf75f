import JSONValues

/// Configuration of PSOFT: orthogonal fine-tuning within W's leading singular subspace, W becomes W + s
/// B (R - I) A with W's leading part B A / s, of which only R `[rank, rank]` is trained.
///
/// R is diag(b) (I + Q) (I - Q)^-1 diag(a) with a skew-symmetric Q, whose upper triangle is trained.
/// A and B are worked out from W anew when a file is opened, so that it is for that base alone.
///
/// Source: Wu et al. 2025, arXiv 2505.11235. Defaults are those of PEFT 0.21.2.
public struct PSOFTConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "PSOFT"

  /// How W's leading part U S V^T is split into A and B.
  public enum Split: String, Sendable, CaseIterable {
    /// A = V^T, so that an orthogonal R keeps angles.
    case asymmetric = "psoft_init"
    /// Each gets sqrt(S).
    case symmetric = "pissa_init"
  }

  /// How the singular vectors are found.
  public enum Decomposition: String, Sendable, CaseIterable {
    /// All of them.
    case full
    /// Only the leading ones, by power iterations from random vectors.
    case lowrank
  }

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Dimension of the subspace.
  public var rank = 32
  /// Numerator of the scale s = alpha / rank.
  public var alpha = 32.0
  /// Share of inputs of A that are dropped in training.
  public var dropout = 0.0
  /// How W's leading part is split.
  public var split = Split.asymmetric
  /// How the singular vectors are found.
  public var decomposition = Decomposition.full
  /// Power iterations of ``Decomposition/lowrank``.
  public var iterations = 10
  /// Start of the random vectors of ``Decomposition/lowrank``.
  public var seed = 0
  /// Whether R is orthogonal but for a and b; else it is trained itself.
  public var isOrthogonal = true
  /// Whether b is trained; else it is one.
  public var scalesOutput = true
  /// Whether a is trained; else it is one.
  public var scalesInput = true
  /// Whether the Cayley transform is computed by a series, without solving equations.
  public var usesSeries = false
  /// Terms of the series, positive.
  public var seriesTerms = 5
  /// Longest norm of Q in the series, in 0 ..< 1 and not 0; nil for any.
  public var seriesBound: Double?
  /// Whether R starts as the identity instead of near it.
  public var hasStandardInitialization = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - rank: Dimension of the subspace, positive.
  ///   - alpha: Numerator of the scale; nil for the rank.
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(rank: Int, alpha: Double? = nil, targetModules: TargetModules? = nil) {
    self.rank = rank
    self.alpha = alpha ?? Double(rank)
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("r", \.rank), .wholeNumber("psoft_alpha", \.alpha),
      .number("psoft_dropout", \.dropout), .choice("ab_svd_init", \.split),
      .choice("psoft_svd", \.decomposition), .integer("psoft_svd_lowrank_niter", \.iterations),
      .integer("random_seed", \.seed), .flag("psoft_orth", \.isOrthogonal),
      .flag("psoft_mag_b", \.scalesOutput), .flag("psoft_mag_a", \.scalesInput),
      .flag("use_cayley_neumann", \.usesSeries),
      .integer("num_cayley_neumann_terms", \.seriesTerms),
      .number("cayley_neumann_eps", \.seriesBound),
      .flag("init_weights", \.hasStandardInitialization), .targetModules, .excludeModules,
      .layersToTransform, .layersPattern, .modulesToSave, .fanInFanOut,
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("rank (r)", rank)
    try require("psoft_alpha", alpha > 0 && alpha.isFinite, "a positive number", alpha)
    try requireShare("psoft_dropout", dropout)
    try require("psoft_svd_lowrank_niter", iterations >= 0, "not negative", iterations)
    try require("random_seed", seed >= 0, "not negative", seed)
    guard usesSeries else { return }
    try requirePositive("num_cayley_neumann_terms", seriesTerms)
    if let seriesBound {
      try require(
        "cayley_neumann_eps", seriesBound > 0 && seriesBound < 1, "between 0 and 1", seriesBound)
    }
  }
}
