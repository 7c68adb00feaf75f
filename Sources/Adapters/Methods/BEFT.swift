import Layers
import Tensors

/// Configuration of BEFT: a trained vector is added to the outputs of the value projections.
///
/// Merging needs layers that have a bias: without one the model's files have no place for it.
///
/// Source: Huang et al. 2025, arXiv 2509.15974. Defaults are those of PEFT 0.21.2.
public struct BEFTConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "BEFT"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Whether the vector starts as zeros, which change nothing, instead of normal numbers.
  public var hasStandardInitialization = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameter targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(targetModules: TargetModules?) { selection.targetModules = targetModules }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [.flag("init_weights", \.hasStandardInitialization), .targetModules, .modulesToSave]
  }

  /// PEFT's own table.
  ///
  /// - Parameter modelType: The `model_type` of `config.json`.
  /// - Returns: Layers, or nil when they have to be named.
  public static func defaultTargets(modelType: String) -> TargetModules? {
    DefaultTargets.values[modelType]
  }
}

extension BEFTConfig: LayerMethod {
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let shape = [1, site.outputSize]
    return BEFTAdapter(hasStandardInitialization ? site.zeros(shape) : site.normal(shape))
  }
}

/// A bias beside the layer's own.
final class BEFTAdapter: LayerAdapter {
  let vector: Parameter  // [1, out]

  init(_ vector: Parameter) { self.vector = vector }

  var parameters: [AdapterParameter] { [AdapterParameter("beft_bias", vector)] }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    y.adding(wide: vector.value.reshaped([vector.count]))
  }

  func merge(into layer: inout MergedLayer) {
    layer.bias?.addInPlace(vector.value.detached().reshaped([vector.count]))
  }

  func obstacle(toMergingInto base: any LinearProjection) -> String? {
    base.bias == nil ? "has no bias" : nil
  }
}
