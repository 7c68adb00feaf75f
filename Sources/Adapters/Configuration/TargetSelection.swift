import JSONValues

/// Which layers of a model get an adapter.
public struct TargetSelection: Equatable, Sendable {
  /// Layers that get an adapter; nil for what PEFT takes for the model's type.
  public var targetModules: TargetModules?
  /// Layers that get none, whatever `targetModules` says.
  public var excludeModules: TargetModules?
  /// Numbers of the blocks that get an adapter; nil for all.
  public var layersToTransform: [Int]?
  /// Names of the lists that those numbers count in; empty for any.
  public var layersPattern: [String] = []
  /// Biases that are trained too.
  public var bias = BiasTraining.none
  /// Whether the base's files hold the layers' weights as [inputs, outputs]; found from the model when
  /// the adapter is written, in whose files PEFT repeats it for methods that it asks.
  public var isFanInFanOut = false

  /// Makes a selection.
  ///
  /// - Parameter targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(_ targetModules: TargetModules? = nil) { self.targetModules = targetModules }
}

/// Which biases are trained beside an adapter.
public enum BiasTraining: String, Sendable, CaseIterable {
  /// None.
  case none
  /// Every bias of the model.
  case all
  /// Those of the layers that have the adapter; each method's files have their own word for it.
  case loraOnly = "lora_only"
}

/// Configuration of a method that changes single layers.
public protocol LayerConfiguration: AdapterConfiguration {
  /// Which layers.
  var selection: TargetSelection { get set }

  /// What PEFT calls ``BiasTraining/loraOnly`` here, for example "lora_only".
  static var adaptedBiasName: String { get }

  /// What PEFT takes for a type of model when nothing is said; nil for nothing.
  ///
  /// - Parameter modelType: The `model_type` of `config.json`.
  /// - Returns: Layers, or nil when they have to be named.
  static func defaultTargets(modelType: String) -> TargetModules?

  /// The configuration as a file may hold it, whose tables of patterns lose their order.
  ///
  /// - Parameter targets: Paths of the layers that have the adapter.
  /// - Returns: One that means the same with its tables in any order.
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)`` for a pattern that is none.
  func unambiguous(for targets: [String]) throws(AdapterError) -> Self
}

extension LayerConfiguration {
  /// The same, for methods without tables of patterns.
  ///
  /// - Parameter targets: Paths of the layers that have the adapter.
  /// - Returns: This configuration.
  /// - Throws: Nothing.
  public func unambiguous(for targets: [String]) throws(AdapterError) -> Self { self }

  /// The method's name in lower case, with "_only".
  public static var adaptedBiasName: String { type.lowercased() + "_only" }

  /// As for LoRA.
  ///
  /// - Parameter modelType: The `model_type` of `config.json`.
  /// - Returns: Layers, or nil when they have to be named.
  public static func defaultTargets(modelType: String) -> TargetModules? {
    DefaultTargets.lora[modelType]
  }

  /// Layers that get an adapter; nil for what PEFT takes for the model's type.
  public var targetModules: TargetModules? {
    get { selection.targetModules }
    set { selection.targetModules = newValue }
  }

  /// Layers that get none, whatever `targetModules` says.
  public var excludeModules: TargetModules? {
    get { selection.excludeModules }
    set { selection.excludeModules = newValue }
  }

  /// Numbers of the blocks that get an adapter; nil for all.
  public var layersToTransform: [Int]? {
    get { selection.layersToTransform }
    set { selection.layersToTransform = newValue }
  }

  /// Names of the lists that those numbers count in; empty for any.
  public var layersPattern: [String] {
    get { selection.layersPattern }
    set { selection.layersPattern = newValue }
  }

  /// Biases that are trained too.
  public var bias: BiasTraining {
    get { selection.bias }
    set { selection.bias = newValue }
  }
}

/// Fields of ``TargetSelection``; PEFT's classes differ in which of them they have.
extension ConfigurationField where Configuration: LayerConfiguration {
  static var targetModules: Self { .targets("target_modules", \.selection.targetModules) }
  static var excludeModules: Self { .targets("exclude_modules", \.selection.excludeModules) }
  static var layersToTransform: Self {
    .integers("layers_to_transform", \.selection.layersToTransform)
  }
  static var fanInFanOut: Self { .flag("fan_in_fan_out", \.selection.isFanInFanOut) }
  static var layersPattern: Self { .strings("layers_pattern", \.selection.layersPattern) }

  static var bias: Self {
    let names: [(BiasTraining, String)] = [
      (.none, "none"), (.all, "all"), (.loraOnly, Configuration.adaptedBiasName),
    ]
    return Self(
      "bias",
      read: { (object, reader) throws(AdapterError) in
        guard let text = try reader.string("bias") else { return }
        guard let found = names.first(where: { $0.1 == text }) else {
          throw .configuration(
            field: "bias", expected: names.map(\.1).joined(separator: ", "), actual: text)
        }
        object.selection.bias = found.0
      },
      write: { object in
        .string(names.first { $0.0 == object.selection.bias }?.1 ?? "none")
      })
  }
}

extension ConfigurationField where Configuration: AdapterConfiguration {
  static var modulesToSave: Self { .strings("modules_to_save", \.origin.modulesToSave) }
}
