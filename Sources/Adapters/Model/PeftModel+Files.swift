import Checkpoints
import JSONValues
import Layers
import Tensors

extension PeftModel {
  /// Writes an adapter as PEFT does: `adapter_config.json` and `adapter_model.safetensors`.
  ///
  /// - Parameters:
  ///   - directory: Where; made when it does not exist.
  ///   - adapter: Which adapter; nil for the first active one.
  /// - Throws: `CheckpointError` when it cannot be written.
  public func savePretrained(_ directory: String, adapter: String? = nil) throws {
    let adapter = try self.adapter(named: adapter ?? context.active.first ?? "default")
    try makeDirectory(directory)
    try SafetensorsWriter.save(
      directory + "/adapter_model.safetensors",
      tensors: adapter.parameters.map { ($0.key, $0.own.parameter.value) })
    try AtomicFile.write(
      path: directory + "/adapter_config.json",
      text: savedConfiguration(of: adapter).json.serialized(indent: 2, sortedKeys: true))
  }

  /// Opens an adapter directory on a model.
  ///
  /// Loading is strict: every tensor of the adapter must be in the file with the right shape, and
  /// every tensor of the file must have a place. A file may hold weights of the base too, as PEFT
  /// saves embeddings and heads in some cases; they replace the base's.
  ///
  /// - Parameters:
  ///   - base: The model; changed in place.
  ///   - directory: An adapter directory of PEFT or of ``savePretrained(_:adapter:)``.
  ///   - adapterName: The name it gets here.
  ///   - trainable: Whether training goes on.
  ///   - seed: Start of the random numbers of dropout.
  ///   - dropout: Share of dropped inputs in training of a LoRA; nil for what the file says.
  /// - Returns: The model with the adapter, which acts.
  /// - Throws: ``AdapterError``, `CheckpointError` or `JSONError` when the directory is not such an
  ///   adapter or was made for another model.
  public static func fromPretrained(
    _ base: Base, _ directory: String, adapterName: String = "default",
    trainable: Bool = false, seed: UInt64 = 0, dropout: Double? = nil
  ) throws -> PeftModel {
    var file = try AdapterFile(directory)
    if let dropout, var lora = file.configuration as? LoRAConfig {
      lora.dropout = dropout
      file.configuration = lora
    }
    let model = try file.naming {
      () throws(AdapterError) in
      try PeftModel(base, file.configuration, adapterName, seed: seed, isStrict: false)
    }
    try model.load(file, into: adapterName)
    try model.setAdapter([adapterName], trainable: trainable)
    return model
  }

  /// Adds an adapter directory beside those that are there; it does not act yet.
  ///
  /// - Parameters:
  ///   - directory: An adapter directory.
  ///   - name: The name it gets here.
  /// - Throws: As ``fromPretrained(_:_:adapterName:trainable:seed:)``.
  public func loadAdapter(_ directory: String, name: String) throws {
    let file = try AdapterFile(directory)
    try file.naming { () throws(AdapterError) in
      try add(name, file.configuration, seed: 0, isStrict: false)
    }
    try load(file, into: name)
  }

  /// Reads the active adapter's tensors again, as a resumed run does.
  ///
  /// - Parameter directory: An adapter directory with the same tensors.
  /// - Throws: As ``fromPretrained(_:_:adapterName:trainable:seed:)``.
  public func reload(_ directory: String) throws {
    try load(try AdapterFile(directory), into: context.active.first ?? "default")
  }

  private func load(_ file: AdapterFile, into name: String) throws {
    let parameters = adapterParameters(name)
    let path = file.weights.path
    let present = Set(file.weights.entries.map(\.name))
    let needed = Set(parameters.map(\.key))
    let missing = parameters.map(\.key).filter { !present.contains($0) }
    let extra = present.subtracting(needed).sorted()
    let ofBase = extra.isEmpty ? [:] : baseParameters()
    let unexpected = extra.filter { ofBase[$0] == nil }
    guard missing.isEmpty, unexpected.isEmpty else {
      throw AdapterError.keys(path: path, missing: missing, unexpected: unexpected)
    }
    let all = parameters + extra.compactMap { key in ofBase[key].map { (key, $0) } }
    let free = try adapter(named: name).parameters.reduce(into: [:]) {
      $0[$1.key] = $1.own.freeDimension
    }
    for (key, parameter) in all {
      guard let entry = file.weights[key] else { continue }
      var shape = entry.shape
      if let free = free[key], shape.count == parameter.value.rank {
        shape[free] = parameter.value.size(free)
      }
      guard shape == parameter.value.shape else {
        throw AdapterError.wrongShape(
          path: path, key: key, expected: parameter.value.shape, actual: entry.shape)
      }
      let trainable = parameter.isTrainable
      let current = parameter.value
      // A copy: the file may be replaced while the model lives.
      parameter.value = try file.weights.tensor(entry).to(current.dtype)
        .to(device: current.device).cloned()
      parameter.isTrainable = trainable
    }
    for (place, module) in base.modules() {
      let adapted = (module as? Linear)?.projection as? AdaptedProjection
      guard let problem = adapted?.adapter(name)?.problem else { continue }
      throw AdapterError.file(path: path, reason: "\(place): \(problem)")
    }
  }
}

extension PeftModel {
  /// The configuration as it is written: "all-linear" means other layers in another model, so that the
  /// file names those that were meant, as does PEFT's default.
  private func savedConfiguration(of adapter: PlacedAdapter) -> any AdapterConfiguration {
    guard var layers = adapter.configuration as? any LayerConfiguration else {
      return adapter.configuration
    }
    let matching = TargetMatching(base)
    if layers.targetModules == .allLinear {
      layers.targetModules = .names(
        matching.shortestNames(for: adapter.targets, among: basePaths))
    } else if layers.targetModules == nil {
      layers.targetModules = try? matching.chosenTargets(layers)
    }
    return layers
  }

  /// The base's own parameters by the keys under which PEFT would save them.
  private func baseParameters() -> [String: Parameter] {
    // An adapter's own tensors have its name in their paths here and would never be found.
    Dictionary(
      base.parameters().map { (keyPrefix + $0.path, $0.parameter) },
      uniquingKeysWith: { first, _ in first })
  }
}

/// The two files of an adapter directory.
private struct AdapterFile {
  let path: String
  var configuration: any AdapterConfiguration
  let weights: SafetensorsFile

  /// Runs `body`; what is wrong with a field is then wrong with this file.
  func naming<Result>(
    _ body: () throws(AdapterError) -> Result
  ) throws(AdapterError) -> Result { try Self.naming(path, body) }

  private static func naming<Result>(
    _ path: String, _ body: () throws(AdapterError) -> Result
  ) throws(AdapterError) -> Result {
    do {
      return try body()
    } catch {
      switch error {
      case .configuration, .unsupported, .noSuchModules:
        throw .file(path: path, reason: "\(error)")
      default: throw error
      }
    }
  }

  init(_ directory: String) throws {
    let path = directory + "/adapter_config.json"
    let json = try JSON.read(path: path)
    configuration = try Self.naming(path) { () throws(AdapterError) in
      try AdapterMethods.configuration(json: json, path: path)
    }
    self.path = path
    weights = try SafetensorsFile(path: directory + "/adapter_model.safetensors")
  }
}
