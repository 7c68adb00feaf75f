/// Configuration of LN tuning: copies of the model's normalisations are trained in their place.
///
/// The copies have the type of the originals. Merging leaves them in the model.
///
/// Source: Zhao et al. 2023, arXiv 2312.11420. Defaults are those of PEFT 0.21.2.
public struct LNTuningConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "LN_TUNING"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which modules are copied: normalisations, or others with parameters that are no linear layers.
  public var selection = TargetSelection()

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameter targetModules: Modules that are copied; nil for PEFT's default.
  public init(targetModules: TargetModules?) { selection.targetModules = targetModules }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [.targetModules, .excludeModules, .modulesToSave]
  }

  /// PEFT's own table.
  ///
  /// - Parameter modelType: The `model_type` of `config.json`.
  /// - Returns: Modules, or nil when they have to be named.
  public static func defaultTargets(modelType: String) -> TargetModules? {
    DefaultTargets.norms[modelType]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try require(
      "target_modules", targetModules != .allLinear, "names or an expression", "all-linear")
  }
}

extension LNTuningConfig: ReplacementMethod {
  static var infix: String { "ln_tuning_layers" }
}
