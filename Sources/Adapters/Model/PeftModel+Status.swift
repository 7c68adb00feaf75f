import Layers
public import Tensors

/// What is known of one adapted layer, with PEFT's names.
public struct AdapterLayerStatus: Equatable, Sendable {
  /// The layer's path in the model.
  public let name: String
  /// What the base computes with, for example "DenseProjection".
  public let moduleType: String
  /// Whether adapters act at all.
  public let isEnabled: Bool
  /// Adapters that act, in their order.
  public let activeAdapters: [String]
  /// Adapters that are in the weight.
  public let mergedAdapters: [String]
  /// Whether each adapter of the layer is trained.
  public let requiresGradient: [String: Bool]
  /// Adapters of the layer.
  public let availableAdapters: [String]
  /// Where each adapter's tensors are.
  public let devices: [String: [Device]]
}

/// What is known of a model with adapters, with PEFT's names.
public struct AdapterModelStatus: Equatable, Sendable {
  /// Type of the wrapped model.
  public let baseModelType: String
  /// PEFT's names of the adapters' methods, by adapter.
  public let peftTypes: [String: String]
  /// Numbers that training changes.
  public let trainableParameters: Int
  /// Numbers of the model with its adapters.
  public let totalParameters: Int
  /// Layers that have an adapter.
  public let adapterLayerCount: Int
  /// Whether adapters act at all.
  public let isEnabled: Bool
  /// Adapters that act.
  public let activeAdapters: [String]
  /// Adapters that are in the weights; nil where layers disagree, which PEFT calls irregular.
  public let mergedAdapters: [String]?
  /// Whether each adapter is trained; nil where its tensors disagree.
  public let requiresGradient: [String: Bool?]
  /// All adapters.
  public let availableAdapters: [String]
  /// Where each adapter's tensors are.
  public let devices: [String: [Device]]
}

extension PeftModel {
  /// The state of each adapted layer, in the order of the model.
  public var layerStatus: [AdapterLayerStatus] {
    adaptedPlaces.map { place in
      let adapters = place.part.parts
      func each<Value>(_ value: ([AdapterParameter]) -> Value) -> [String: Value] {
        Dictionary(
          adapters.map { ($0.name, value($0.adapter.parameters)) }, uniquingKeysWith: { $1 })
      }
      return AdapterLayerStatus(
        name: place.path, moduleType: place.part.baseType,
        isEnabled: context.isEnabled, activeAdapters: context.active,
        mergedAdapters: place.part.mergedNames,
        requiresGradient: each { $0.contains { $0.parameter.isTrainable } },
        availableAdapters: adapters.map(\.name),
        devices: each { Self.devices($0.map(\.parameter.value.device)) })
    }
  }

  /// The state of the whole model.
  public var modelStatus: AdapterModelStatus {
    let (trainable, total) = parameterCounts
    let merged = Set(adaptedPlaces.map(\.part.mergedNames))
    func each<Value>(_ value: ([AdapterParameter]) -> Value) -> [String: Value] {
      Dictionary(
        placed.map { ($0.name, value($0.parameters.map(\.own))) }, uniquingKeysWith: { $1 })
    }
    return AdapterModelStatus(
      baseModelType: String(describing: type(of: base)),
      peftTypes: Dictionary(
        placed.map { ($0.name, type(of: $0.configuration).type) }, uniquingKeysWith: { $1 }),
      trainableParameters: trainable, totalParameters: total,
      adapterLayerCount: adaptedPlaces.count, isEnabled: context.isEnabled,
      activeAdapters: context.active, mergedAdapters: merged.count > 1 ? nil : merged.first ?? [],
      requiresGradient: each { own -> Bool? in
        let states = Set(own.filter(\.isTrained).map(\.parameter.isTrainable))
        return states.count == 1 ? states.first : nil
      },
      availableAdapters: placed.map(\.name),
      devices: each { Self.devices($0.map(\.parameter.value.device)) })
  }

  private static func devices(_ all: [Device]) -> [Device] {
    all.reduce(into: []) { found, device in
      if !found.contains(device) { found.append(device) }
    }
  }
}
