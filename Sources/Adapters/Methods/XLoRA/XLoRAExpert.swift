import Checkpoints
import Layers
import Models
import Tensors

/// A LoRA adapter that is read to be an expert.
struct XLoRAExpert {
  let path: String
  let configuration: LoRAConfig
  /// Tensors by the keys of its file.
  private(set) var tensors: [String: Tensor] = [:]

  /// Reads an adapter directory.
  ///
  /// - Parameters:
  ///   - name: The expert, for messages.
  ///   - path: The directory.
  /// - Throws: ``AdapterError`` when it is none of a LoRA that changes linear layers alone.
  init(_ name: String, _ path: String) throws(AdapterError) {
    func refused(_ actual: Any) -> AdapterError {
      .configuration(
        field: "adapters.\(name)", expected: "the directory of a LoRA adapter",
        actual: "\(path) (\(actual))")
    }
    let file: AdapterFile
    do {
      file = try AdapterFile(path)
      for entry in file.weights.entries { tensors[entry.name] = try file.weights.tensor(entry) }
    } catch { throw refused(error) }
    guard let lora = file.configuration as? LoRAConfig else {
      throw refused("of the method \(type(of: file.configuration).type)")
    }
    guard lora.bias == .none, lora.modulesToSave.isEmpty else {
      throw refused("which trains \(lora.modulesToSave.first ?? "biases") too")
    }
    self.path = path
    configuration = lora
  }

  /// The expert's adapters of a model's layers, with the numbers of its file.
  ///
  /// - Parameters:
  ///   - name: The expert, for messages.
  ///   - site: The model.
  /// - Returns: Adapters by the paths of their layers.
  /// - Throws: ``AdapterError`` when the expert is for another model.
  func adapters(
    _ name: String, in site: ModelSite
  ) throws(AdapterError) -> [String: any LayerAdapter] {
    let targets = try TargetMatching(site.model).targets(of: configuration, isStrict: false)
    if let head = targets.first(where: { $0 == site.model.outputHeadPath }) {
      throw .configuration(
        field: "adapters.\(name)", expected: "an adapter of layers inside the decoder",
        actual: "\(path), which has \(head) too")
    }
    let modules = Dictionary(
      site.model.modules().map { ($0.path, $0.module) }, uniquingKeysWith: { first, _ in first })
    let sites = targets.compactMap { target -> LayerSite? in
      guard let layer = modules[target] as? Linear else { return nil }
      return LayerSite(
        path: target, base: layer.unadapted, generator: site.generator, isLoading: true,
        wantedType: site.wantedType)
    }
    let made = try configuration.adapters(for: sites).layers
    let isPlain = configuration.monteCLoRA == nil
    guard isPlain, made.allSatisfy({ ($0 as? LoRAAdapter)?.isProduct == true }) else {
      throw .configuration(
        field: "adapters.\(name)", expected: "a plain LoRA adapter", actual: path)
    }
    try fill(
      zip(targets, made).flatMap { target, adapter in
        adapter.parameters.map { (keyPrefix + joined(target, $0.name), $0.parameter) }
      }, on: site.device)
    return Dictionary(zip(targets, made), uniquingKeysWith: { first, _ in first })
  }

  /// Gives parameters the file's numbers.
  private func fill(
    _ parameters: [(key: String, parameter: Parameter)], on device: Device
  ) throws(AdapterError) {
    var report = LoadReport()
    for (key, parameter) in parameters {
      let tensor = tensors[key]
      guard report.accepts(key, tensor?.shape, as: parameter.value.shape), let tensor else {
        continue
      }
      parameter.value = tensor.to(parameter.value.dtype).to(device: device).cloned()
      parameter.isTrainable = false
    }
    report.unexpected = Set(tensors.keys).subtracting(parameters.map(\.key)).sorted()
    guard report.isComplete else { throw .keys(path: path, report: report) }
  }
}
