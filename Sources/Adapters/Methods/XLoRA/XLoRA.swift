import Checkpoints
import JSONValues
import Layers
import Models
import Tensors

extension XLoRAConfig: ModelMethod {
  static var mergeObstacle: String { "each token has its own weights of the experts" }

  func completed(for site: ModelSite) throws(AdapterError) -> Self {
    let actual = site.decoder.configuration.hiddenSize
    try require(
      "hidden_size", hiddenSize.map { $0 == actual } ?? true, "the model's \(actual)",
      hiddenSize ?? 0)
    var result = self
    result.hiddenSize = actual
    return result
  }

  func place(_ placed: PlacedAdapter, in site: ModelSite) throws(AdapterError) {
    var experts: [XLoRAExpert] = []
    var found: [String: [(number: Int, adapter: any LayerAdapter)]] = [:]
    for (number, entry) in orderedAdapters.enumerated() {
      let expert = try XLoRAExpert(entry.name, entry.path)
      for (path, adapter) in try expert.adapters(entry.name, in: site) {
        found[path, default: []].append((number, adapter))
      }
      experts.append(expert)
    }
    let layers = site.model.modules().compactMap { path, module in
      (module as? Linear).flatMap { layer in found[path].map { (path, layer, $0) } }
    }
    let classifier = XLoRAClassifier(
      self, hiddenSize: site.decoder.configuration.hiddenSize, layerCount: layers.count, site)
    let router = XLoRARouter(classifier, self, layerCount: layers.count, site)
    placed.parameters = classifier.parameters
    for (index, (path, layer, own)) in layers.enumerated() {
      let adapter = XLoRALayer(own, index: index, router, self)
      layer.adapted(in: site.context).add(placed.name, adapter)
      placed.targets.append(path)
      placed.layers.append((path, adapter))
      if trainsExperts {
        placed.parameters += adapter.parameters.map { (keyPrefix + joined(path, $0.name), $0) }
      }
    }
    placed.companion = router
    placed.storage = XLoRAStorage(self, experts.map(\.configuration), found)
  }
}

/// Files hold the classifier; experts that are trained have folders beside it.
private final class XLoRAStorage: AdapterStorage {
  private let config: XLoRAConfig
  private let experts: [LoRAConfig]
  private let adapters: [String: [(number: Int, adapter: any LayerAdapter)]]

  init(
    _ config: XLoRAConfig, _ experts: [LoRAConfig],
    _ adapters: [String: [(number: Int, adapter: any LayerAdapter)]]
  ) {
    (self.config, self.experts, self.adapters) = (config, experts, adapters)
  }

  /// Trained experts are in folders that have their numbers for names.
  func configuration(_ configuration: any AdapterConfiguration) -> any AdapterConfiguration {
    guard config.trainsExperts, var result = configuration as? XLoRAConfig else {
      return configuration
    }
    for (number, entry) in config.orderedAdapters.enumerated() {
      result.adapters[entry.name] = "\(number)"
    }
    return result
  }

  func stored(_ tensors: [(key: String, tensor: Tensor)]) -> [(key: String, tensor: Tensor)] {
    tensors.filter { $0.key.hasPrefix(classifierPrefix) }
  }

  func restored(
    _ tensors: [String: Tensor], _ configuration: any AdapterConfiguration
  ) throws(AdapterError) -> [String: Tensor] {
    guard tensors.keys.contains(where: { $0.hasPrefix(classifierPrefix + "layers.0.") }) else {
      throw .configuration(
        field: "internal_xlora_classifier.layers.0",
        expected:
          "in the file; PEFT 0.21.2 leaves layers out in whose keys it takes the number for "
          + "the name of an expert", actual: "missing")
    }
    guard config.trainsExperts else { return tensors }
    var result = tensors
    for number in experts.indices {
      for own in parameters(ofExpert: number) {
        let key = expertKey(keyPrefix + joined(own.path, own.name), number)
        // What is loaded without a file has the classifier alone.
        result[key] = result[key] ?? own.parameter.value.detached()
      }
    }
    return result
  }

  func save(in directory: String) throws {
    guard config.trainsExperts else { return }
    for (number, configuration) in experts.enumerated() {
      let folder = "\(directory)/\(number)"
      try makeDirectory(folder)
      try SafetensorsWriter.save(
        folder + "/adapter_model.safetensors",
        tensors: parameters(ofExpert: number).map {
          (keyPrefix + joined($0.path, $0.name), $0.parameter.value)
        })
      try AtomicFile.write(
        path: folder + "/adapter_config.json",
        text: configuration.json.serialized(indent: 2, sortedKeys: true))
    }
  }

  private func parameters(
    ofExpert number: Int
  ) -> [(path: String, name: String, parameter: Parameter)] {
    adapters.sorted { $0.key < $1.key }.flatMap { path, experts in
      experts.filter { $0.number == number }.flatMap { expert in
        expert.adapter.parameters.map { (path: path, name: $0.name, parameter: $0.parameter) }
      }
    }
  }
}
