import Foundation
import JSONValues

/// Configuration of low-rank adaptation whose ranks are given to the layers that need them:
/// y = x W^T + s x (E o A)^T B^T.
///
/// A `[rank, inputSize]`, E `[rank, 1]` and B `[outputSize, rank]` stand for a singular value
/// decomposition: a penalty keeps A's rows and B's columns orthonormal. In training the least important
/// elements of E are set to zero; how many are left falls from `initialRank` to `targetRank` in the mean
/// of all layers. s is alpha / (initialRank + 1e-5), whatever is left.
///
/// PEFT 0.21.2 fails where the budget does not differ from the initial one, and where an adapter with
/// masks is trained on and opened once more; here nothing is masked then, and masks always count the
/// initial ranks.
///
/// Source: Zhang et al. 2023, arXiv 2303.10512. Defaults are those of PEFT 0.21.2.
public struct AdaLoRAConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "ADALORA"
  /// As LoRA's.
  public static let adaptedBiasName = "lora_only"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Mean rank at the end of the budget's fall.
  public var targetRank = 8
  /// Rank of each layer at the start.
  public var initialRank = 12
  /// Numerator of the scale s; initialRank counts instead of what is not positive.
  public var alpha = 8.0
  /// Share of inputs of A that are dropped in training.
  public var dropout = 0.0
  /// Updates before the budget begins to fall.
  public var initialSteps = 0
  /// Last updates, in which the ranks stay.
  public var finalSteps = 0
  /// Updates after which the ranks stay, with those of `finalSteps`; nil for all of a run.
  public var totalSteps: Int?
  /// Updates between two maskings.
  public var interval = 1
  /// Weight of the past in an element's importance.
  public var importanceDecay = 0.85
  /// Weight of the past in the uncertainty of that.
  public var uncertaintyDecay = 0.85
  /// Factor of the penalty for what is not orthonormal.
  public var orthogonality = 0.5
  /// Whether E starts with zeros, so that outputs do not change; else A, B and E are normal.
  public var startsAtIdentity = true
  /// Which of the initial ranks each layer still has, by the layer's path; nil before any masking.
  public var rankMasks: [String: [Bool]]?

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - targetRank: Mean rank at the end, at most `initialRank`.
  ///   - initialRank: Rank at the start, positive.
  ///   - alpha: Numerator of the scale.
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(
    targetRank: Int, initialRank: Int, alpha: Double = 8, targetModules: TargetModules? = nil
  ) {
    (self.targetRank, self.initialRank, self.alpha) = (targetRank, initialRank, alpha)
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("target_r", \.targetRank), .integer("init_r", \.initialRank),
      .wholeNumber("lora_alpha", \.alpha), .number("lora_dropout", \.dropout),
      .integer("tinit", \.initialSteps), .integer("tfinal", \.finalSteps),
      .integer("total_step", \.totalSteps), .integer("deltaT", \.interval),
      .number("beta1", \.importanceDecay), .number("beta2", \.uncertaintyDecay),
      .number("orth_reg_weight", \.orthogonality), .flag("init_lora_weights", \.startsAtIdentity),
      masksField, .targetModules, .excludeModules, .layersToTransform, .layersPattern, .bias,
      .modulesToSave,
      // LoRA's fields that say nothing here.
      .off("r", 8, ignoring: true), .off("alpha_pattern", [:], ignoring: true),
      .off("use_rslora", false, ignoring: true),
      .off("megatron_core", "megatron.core", ignoring: true),
      .off("qalora_group_size", 16, ignoring: true),
      .off("alora_invocation_tokens", nil), .off("arrow_config", nil), .off("corda_config", nil),
      .off("ensure_weight_tying", false), .off("eva_config", nil), .fanInFanOut,
      .off("kasa_config", nil), .off("layer_replication", nil), .off("loftq_config", [:]),
      .off("lora_bias", false), .off("lora_ga_config", nil), .off("megatron_config", nil),
      .off("monteclora_config", nil), .off("target_parameters", nil),
      .off("trainable_token_indices", nil), .off("use_bdlora", nil), .off("use_dora", false),
      .off("use_qalora", false), .off("velora_config", nil),
    ]
  }

  private static var masksField: ConfigurationField<Self> {
    ConfigurationField(
      "rank_pattern",
      read: { (object, reader) throws(AdapterError) in
        guard reader.value("rank_pattern") != nil else { return }
        var masks: [String: [Bool]] = [:]
        for (key, value) in try reader.object("rank_pattern") {
          // "<path>.lora_E", with the adapter's name behind it in some files.
          guard let end = key.range(of: ".lora_E"), let list = value.arrayValue else {
            throw reader.wrong("rank_pattern", "lists of true and false by <layer>.lora_E")
          }
          let mask = list.compactMap(\.boolValue)
          guard mask.count == list.count else {
            throw reader.wrong("rank_pattern", "lists of true and false by <layer>.lora_E")
          }
          masks[String(key[..<end.lowerBound])] = mask
        }
        object.rankMasks = masks
      },
      write: { object in
        guard let masks = object.rankMasks else { return .null }
        return .object(
          JSONObject(
            masks.sorted { $0.key < $1.key }.map {
              ($0.key + ".lora_E", .array($0.value.map(JSON.bool)))
            }))
      })
  }

  /// As PEFT's own table for AdaLoRA.
  ///
  /// - Parameter modelType: The `model_type` of `config.json`.
  /// - Returns: Layers, or nil when they have to be named.
  public static func defaultTargets(modelType: String) -> TargetModules? {
    DefaultTargets.adaLoRA[modelType]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("init_r", initialRank)
    try require(
      "target_r", (0...initialRank).contains(targetRank), "from 0 to init_r (\(initialRank))",
      targetRank)
    try requireFinite("lora_alpha", alpha)
    try requireShare("lora_dropout", dropout)
    for (name, value) in [("beta1", importanceDecay), ("beta2", uncertaintyDecay)] {
      try require(name, value > 0 && value < 1, "between 0 and 1", value)
    }
    try require("orth_reg_weight", orthogonality >= 0, "not negative", orthogonality)
    try requirePositive("deltaT", interval)
    for (name, value) in [("tinit", initialSteps), ("tfinal", finalSteps)] {
      try require(name, value >= 0, "not negative", value)
    }
    if let totalSteps {
      try require(
        "total_step", totalSteps > initialSteps + finalSteps,
        "more than tinit + tfinal (\(initialSteps + finalSteps))", totalSteps)
    }
    for (path, mask) in (rankMasks ?? [:]).sorted(by: { $0.key < $1.key }) {
      try require(
        "rank_pattern for \(path)", mask.count == initialRank, "init_r (\(initialRank)) elements",
        mask.count)
    }
  }
}
