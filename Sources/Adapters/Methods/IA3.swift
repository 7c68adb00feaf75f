import JSONValues
import Layers
import Tensors

/// Configuration of (IA)^3: outputs y * l, or inputs x * l of feed-forward layers, with one trained
/// number for each feature.
///
/// PEFT takes a target for a feed-forward layer when its path ends with one of the names, also
/// within a name; so does this, since it decides the shapes in files.
///
/// Source: Liu et al. 2022, arXiv 2205.05638. Defaults are those of PEFT 0.21.2.
public struct IA3Config: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "IA3"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Targets whose input is scaled instead of their output; nil for what PEFT takes for the model's
  /// type.
  public var feedforwardModules: TargetModules?
  /// Whether l starts as ones, which change nothing, instead of normal numbers.
  public var hasStandardInitialization = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  ///   - feedforwardModules: Those of them whose input is scaled; nil for PEFT's default.
  public init(targetModules: TargetModules?, feedforwardModules: TargetModules? = nil) {
    selection.targetModules = targetModules
    self.feedforwardModules = feedforwardModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .targetModules, .excludeModules, .targets("feedforward_modules", \.feedforwardModules),
      .flag("init_ia3_weights", \.hasStandardInitialization), .modulesToSave,
      .fanInFanOut,
    ]
  }

  /// PEFT's own table.
  ///
  /// - Parameter modelType: The `model_type` of `config.json`.
  /// - Returns: Layers, or nil when they have to be named.
  public static func defaultTargets(modelType: String) -> TargetModules? {
    DefaultTargets.ia3[modelType]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try require(
      "feedforward_modules", feedforwardModules != .allLinear, "names or an expression",
      "all-linear")
    guard case .names(let names) = feedforwardModules, case .names(let targets) = targetModules
    else { return }
    let others = names.filter { !targets.contains($0) }
    try require(
      "feedforward_modules", others.isEmpty, "some of target_modules",
      others.joined(separator: ", "))
  }
}

extension IA3Config: LayerMethod {
  func completed(modelType: String?) throws(AdapterError) -> Self {
    guard feedforwardModules == nil else { return self }
    guard let modelType, case .names(let names) = DefaultTargets.ia3Feedforward[modelType] else {
      throw .configuration(
        field: "feedforward_modules",
        expected: "names, as \(Self.type) has no default for models of type "
          + "\(modelType ?? "unknown")", actual: "nothing")
    }
    var result = self
    // Only what is a target: PEFT cannot open its own files that name others.
    if case .names(let targets) = targetModules {
      result.feedforwardModules = .names(
        targets.filter { target in names.contains(where: target.hasSuffix) })
    } else {
      result.feedforwardModules = .names(names)
    }
    return result
  }

  private func scalesInput(of path: String) throws(AdapterError) -> Bool {
    switch feedforwardModules {
    case .names(let names): names.contains(where: path.hasSuffix)
    case .pattern(let pattern):
      try TargetMatching.matches(path, pattern: pattern, field: "feedforward_modules")
    case .allLinear, nil: false
    }
  }

  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let scalesInput = try scalesInput(of: site.path)
    let shape = scalesInput ? [1, site.inputSize] : [site.outputSize, 1]
    return IA3Adapter(
      hasStandardInitialization ? site.constant(shape, 1) : site.normal(shape),
      scalesInput: scalesInput)
  }
}

extension IA3Config: ConvolutionMethod, KernelMethod {
  static var kernelDimensions: ClosedRange<Int> { 2...3 }
  static var takesGroups: Bool { true }

  func adapter(for site: ConvolutionSite) throws(AdapterError) -> any ConvolutionAdapter {
    let kernel = KernelShape(site.base)
    let scalesInput = try scalesInput(of: site.path)
    let features = scalesInput ? kernel.channels * kernel.groups : site.base.weight.size(0)
    let shape = [1, features] + kernel.sizes.map { _ in 1 }
    return ConvolutionIA3(
      hasStandardInitialization ? site.constant(shape, 1) : site.normal(shape),
      scalesInput: scalesInput, groups: kernel.groups)
  }
}

/// One factor for each output or each input channel of a convolution.
final class ConvolutionIA3: KernelAdapter {
  private let factors: Parameter  // [1, channels, 1...]
  private let scalesInput: Bool
  private let groups: Int

  init(_ factors: Parameter, scalesInput: Bool, groups: Int) {
    (self.factors, self.scalesInput, self.groups) = (factors, scalesInput, groups)
  }

  var parameters: [AdapterParameter] { [AdapterParameter("ia3_l", factors)] }

  func change(_ layer: inout MergedLayer, _ context: AdapterContext) {
    let shape = layer.weight.shape
    let factors = factors.value.to(layer.weight.dtype)
    guard scalesInput else {
      layer.weight = layer.weight * factors.transposed(0, 1)
      layer.bias = layer.bias.map { $0 * factors.reshaped($0.shape) }
      return
    }
    // Each group of outputs sees its own inputs.
    let grouped = layer.weight.reshaped([groups, -1, shape[1]] + shape.dropFirst(2))
    let own = factors.reshaped([groups, 1, shape[1]] + shape.dropFirst(2).map { _ in 1 })
    layer.weight = (grouped * own).reshaped(shape)
  }
}

/// One factor for each output or each input of a layer.
final class IA3Adapter: LayerAdapter {
  let factors: Parameter  // [out, 1], or [1, in]
  let scalesInput: Bool

  init(_ factors: Parameter, scalesInput: Bool) {
    self.factors = factors
    self.scalesInput = scalesInput
  }

  var parameters: [AdapterParameter] { [AdapterParameter("ia3_l", factors)] }

  private var flat: Tensor { factors.value.reshaped([factors.count]) }

  func input(_ x: Tensor, _ context: AdapterContext) -> Tensor {
    scalesInput ? x.multiplied(wide: flat) : x
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    scalesInput ? y : y.multiplied(wide: flat)
  }

  func merge(into layer: inout MergedLayer) {
    let factors = factors.value.detached().to(layer.weight.dtype)
    layer.weight.multiplyInPlace(factors)
    if !scalesInput { layer.bias = layer.bias.map { $0 * factors.reshaped($0.shape) } }
  }
}

extension Tensor {
  /// The product with factors, in the wider of the two types, rounded once to this one.
  func multiplied(wide factors: Tensor) -> Tensor {
    if dtype == factors.dtype { return self * factors }
    let type = DType.computing(dtype, factors.dtype)
    return (to(type) * factors.to(type)).to(dtype)
  }
}
