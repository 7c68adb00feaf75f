import Checkpoints
import Foundation
import JSONValues
import Layers
import Tensors

extension PeftModel {
  /// Writes an adapter as PEFT does: `adapter_config.json`, `adapter_model.safetensors`, and a card,
  /// `README.md`, whose page is kept when it is there.
  ///
  /// Where PEFT leaves out what makes virtual tokens, `adapter_encoder.safetensors` holds that.
  ///
  /// - Parameters:
  ///   - directory: Where; made when it does not exist.
  ///   - adapter: Which adapter; nil for the first active one.
  ///   - asPlainLoRA: Whether a LoRA whose start is taken from the base is written as one that is
  ///     added to the base as it is, with [A; A0], [B, -B0] and twice the rank. Nil for those whose
  ///     start PEFT could not find again from the base alone. With false such a file holds A0 and B0
  ///     under names of its own, and can go on being trained here.
  /// - Throws: `CheckpointError` when it cannot be written, ``AdapterError/impossible(method:what:)``
  ///   when another method is to be a LoRA.
  public func savePretrained(
    _ directory: String, adapter: String? = nil, asPlainLoRA: Bool? = nil
  ) throws {
    let adapter = try self.adapter(named: adapter ?? context.active.first ?? "default")
    try save(adapter, directory, try written(adapter, asPlainLoRA: asPlainLoRA))
  }

  /// Writes the active adapter as it is trained, from which training goes on with
  /// ``fromPretrained(_:_:adapterName:trainable:seed:dropout:)``.
  ///
  /// Where ``savePretrained(_:adapter:asPlainLoRA:)`` leaves out what came to nothing, as of AdaLoRA,
  /// this does not.
  ///
  /// - Parameter directory: Where; made when it does not exist.
  /// - Throws: As ``savePretrained(_:adapter:asPlainLoRA:)``.
  public func saveCheckpoint(_ directory: String) throws {
    let adapter = try self.adapter(named: context.active.first ?? "default")
    try save(adapter, directory, try written(adapter, asPlainLoRA: false, isCheckpoint: true))
  }

  private func save(
    _ adapter: PlacedAdapter, _ directory: String,
    _ written: (
      tensors: [(key: String, tensor: Tensor)], configuration: any AdapterConfiguration
    )
  ) throws {
    let (tensors, configuration) = written
    try makeDirectory(directory)
    try SafetensorsWriter.save(
      directory + "/adapter_model.safetensors", tensors: tensors.map { ($0.key, $0.tensor) })
    try adapter.storage?.save(in: directory)
    try AtomicFile.write(
      path: directory + "/adapter_config.json",
      text: configuration.json.serialized(indent: 2, sortedKeys: true))
    try ModelCard(of: configuration).write(to: directory)
  }

  /// Opens an adapter directory on a model.
  ///
  /// Loading is strict: every tensor of the adapter must be in the file with the right shape, and
  /// every tensor of the file must have a place. A file may hold weights of the base too, as PEFT
  /// saves embeddings and heads in some cases; they replace the base's.
  ///
  /// - Parameters:
  ///   - base: The model; changed in place.
  ///   - directory: An adapter directory of PEFT or of ``savePretrained(_:adapter:asPlainLoRA:)``.
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
      try PeftModel(
        base, file.configuration, adapterName, seed: seed, isStrict: false, isLoading: true)
    }
    do {
      model.loadReports[adapterName] = try model.load(file, into: adapterName)
      try model.adapter(named: adapterName).origin.directory = directory
    } catch {
      try model.unload()
      throw error
    }
    try model.setAdapter([adapterName], trainable: trainable)
    return model
  }

  /// Adds an adapter directory beside those that are there; it does not act yet.
  ///
  /// - Parameters:
  ///   - directory: An adapter directory.
  ///   - name: The name it gets here.
  /// - Returns: What was taken over.
  /// - Throws: As ``fromPretrained(_:_:adapterName:trainable:seed:)``.
  @discardableResult
  public func loadAdapter(_ directory: String, name: String) throws -> LoadReport {
    let file = try AdapterFile(directory)
    try file.naming { () throws(AdapterError) in
      try add(name, file.configuration, seed: 0, isStrict: false, isLoading: true)
    }
    do {
      let report = try load(file, into: name)
      loadReports[name] = report
      try adapter(named: name).origin.directory = directory
      return report
    } catch {
      try deleteAdapter(name)
      throw error
    }
  }

  /// Puts another adapter in the place of one that is there, under the same name.
  ///
  /// Rank, scale and targets may differ: the result is that of opening the other one alone.
  ///
  /// - Parameters:
  ///   - name: The adapter to replace; nothing changes when the other one cannot be opened.
  ///   - directory: An adapter directory.
  /// - Returns: What was taken over.
  /// - Throws: As ``fromPretrained(_:_:adapterName:trainable:seed:)``; ``AdapterError/conflict(_:)``
  ///   while the adapter is merged, and when both train the model's biases, which are not swapped.
  @discardableResult
  public func hotSwapAdapter(_ name: String, from directory: String) throws -> LoadReport {
    let old = try adapter(named: name)
    let isTrained = old.parameters.contains { $0.own.parameter.isTrainable }
    let active = context.active
    guard !isMerged(name) else {
      throw AdapterError.conflict("\(name) is merged; unmerge it before it is replaced")
    }
    let spare = "_" + name
    try renameAdapter(name, to: spare)
    do {
      let report = try loadAdapter(directory, name: name)
      try deleteAdapter(spare)
      try setAdapter(active, trainable: isTrained)
      return report
    } catch {
      try renameAdapter(spare, to: name)
      throw error
    }
  }

  /// Reads the active adapter's tensors again, as a resumed run does.
  ///
  /// - Parameter directory: An adapter directory with the same tensors.
  /// - Throws: As ``fromPretrained(_:_:adapterName:trainable:seed:)``.
  public func reload(_ directory: String) throws {
    _ = try load(try AdapterFile(directory), into: context.active.first ?? "default")
  }

  /// Makes an adapter again over another base than it was made for.
  func addAgain(_ name: String, _ origin: AdapterMaking) throws {
    try add(
      name, origin.configuration, seed: origin.seed, isStrict: origin.isStrict,
      isLoading: origin.directory != nil, dtype: origin.dtype)
    guard let directory = origin.directory else { return }
    loadReports[name] = try load(try AdapterFile(directory), into: name)
    try adapter(named: name).origin.directory = directory
  }

  private func load(_ file: AdapterFile, into name: String) throws -> LoadReport {
    if let lora = file.configuration as? LoRAConfig { try checkStart(lora, file, name) }
    var tensors: [String: Tensor] = [:]
    for entry in file.weights.entries { tensors[entry.name] = try file.weights.tensor(entry) }
    if let naming = file.configuration as? any PathConfiguration {
      tensors.merge(try file.naming(naming.tensors)) { own, _ in own }
    }
    let path = file.weights.path
    let report = try load(tensors, into: name, isStrict: true, path: path, file)
    try loadCompanion(of: try adapter(named: name), beside: path)
    return report
  }

  /// Refuses a LoRA whose start changed the base in a way that cannot be done here.
  private func checkStart(
    _ lora: LoRAConfig, _ file: AdapterFile, _ name: String
  ) throws(AdapterError) {
    if lora.initialization == .loftq,
      let dense = lowRankLayers(name).first(where: { $0.projection.original.storedCount == 0 })
    {
      throw .file(
        path: file.path,
        reason: "init_lora_weights is loftq, which put quantised weights in place of the base's; "
          + "\(dense.path) is dense here")
    }
    let starts = adapterParameters(name).map(\.key).filter {
      $0.hasSuffix(LoRAFactors.startNames[0])
    }
    guard starts.allSatisfy({ file.weights[$0] != nil }) else {
      throw .file(
        path: file.path,
        reason: "init_lora_weights changed the base in a way that the file does not say; have PEFT "
          + "write it with path_initial_model_for_weight_conversion")
    }
  }
}

extension PeftModel {
  /// Takes over what a file or something like it holds; nil where there is no file's configuration.
  func load(
    _ tensors: [String: Tensor], into name: String, isStrict: Bool, path: String,
    _ file: AdapterFile? = nil
  ) throws(AdapterError) -> LoadReport {
    let adapter = try adapter(named: name)
    func naming<Result>(
      _ body: () throws(AdapterError) -> Result
    ) throws(AdapterError) -> Result {
      guard let file else { return try body() }
      return try file.naming(body)
    }
    let configuration = file?.configuration ?? adapter.configuration
    let own = try naming { () throws(AdapterError) -> [String: Tensor] in
      guard let storage = adapter.storage else { return tensors }
      return try storage.restored(tensors, configuration)
    }
    return try naming { () throws(AdapterError) -> LoadReport in
      try adapter.readingPrompt { () throws(AdapterError) in
        try take(own, into: adapter, isStrict: isStrict, path: path)
      }
    }
  }

  /// The configuration as it is written: "all-linear" means other layers in another model, so that the
  /// file names those that were meant, as does PEFT's default.
  func savedConfiguration(
    of adapter: PlacedAdapter, isCheckpoint: Bool = false
  ) throws(AdapterError) -> any AdapterConfiguration {
    let own = adapter.configuration
    let configuration =
      (isCheckpoint ? adapter.storage?.checkpointed(own) : adapter.storage?.configuration(own))
      ?? own
    guard var layers = configuration as? any LayerConfiguration else { return configuration }
    let named = try? TargetMatching(base, for: layers).named(
      layers, targets: adapter.targets, among: basePaths)
    layers.targetModules = named ?? layers.targetModules
    // PEFT sets it anew at each layer, so that the last one decides.
    let targets = Set(adapter.targets)
    let linear = base.modules().last { targets.contains($0.path) && $0.module is Linear }
    if let last = linear?.module as? Linear {
      layers.selection.isFanInFanOut = last.isTransposedInFiles
    }
    return try layers.unambiguous(for: adapter.targets)
  }
}

/// The two files of an adapter directory.
struct AdapterFile {
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
    if let naming = configuration as? any PathConfiguration {
      configuration = naming.resolved(in: directory)
    }
    self.path = path
    weights = try SafetensorsFile(path: directory + "/adapter_model.safetensors")
  }
}
