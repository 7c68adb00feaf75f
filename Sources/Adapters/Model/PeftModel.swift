public import Layers
import Models
public import Tensors

/// A model with adapters.
///
/// Wrapping changes the model in place: its linear layers get projections that add the adapters'
/// updates. Its own weights are frozen.
public final class PeftModel<Base: Module> {
  /// The wrapped model.
  public let base: Base
  /// What the adapters share while the model runs.
  public let context: AdapterContext
  /// Where the model's weights live.
  var device: Device
  /// Start of the random numbers of dropout.
  let seed: UInt64
  /// The adapters in the order they were added.
  private(set) var placed: [PlacedAdapter] = []
  /// What was taken over from files, by adapter.
  public internal(set) var loadReports: [String: LoadReport] = [:]
  /// Paths of the model before anything was added to it.
  private(set) var basePaths: [String]

  /// Configurations by adapter name, in the order they were added.
  public var configurations: [(name: String, configuration: any AdapterConfiguration)] {
    placed.map { ($0.name, $0.configuration) }
  }

  /// What settings of the adapters were changed to, to fit the model, as PEFT's warnings say it.
  public var warnings: [String] { placed.flatMap(\.warnings) }

  /// Wraps a model and adds a first adapter, which is trained unless its `inferenceMode` is set.
  ///
  /// - Parameters:
  ///   - base: The model; changed in place.
  ///   - configuration: The adapter.
  ///   - adapterName: Its name; files of one named "default" have no folder of their own.
  ///   - seed: Start of the random numbers of its initial weights and of dropout.
  ///   - dtype: Type of its numbers, for example bfloat16; nil for float32, or float64 beside such a
  ///     base.
  /// - Throws: ``AdapterError`` when the configuration does not fit the model.
  public convenience init(
    _ base: Base, _ configuration: any AdapterConfiguration, adapterName: String = "default",
    seed: UInt64 = 0, dtype: DType? = nil
  ) throws(AdapterError) {
    try self.init(base, configuration, adapterName, seed: seed, isStrict: true, dtype: dtype)
  }

  /// Wraps a model; a file's list of targets may have names that match nothing.
  init(
    _ base: Base, _ configuration: any AdapterConfiguration, _ adapterName: String, seed: UInt64,
    isStrict: Bool, isLoading: Bool = false, dtype: DType? = nil
  ) throws(AdapterError) {
    self.base = base
    self.seed = seed
    device = base.weightDevice
    context = AdapterContext(seed: seed, device: device)
    (base as? any AdaptableModel)?.dropoutGenerator = context.generator
    basePaths = base.modules().map(\.path)
    let context = context
    (base as? any AdaptableModel)?.inputObserver = { [weak context] batch, past in
      context?.batchTaskIDs = batch.taskIDs
      context?.invocations?.begin(ids: batch.ids, documents: batch.sequenceIDs, past: past)
    }
    for (_, parameter) in base.parameters() { parameter.isTrainable = false }
    try add(
      adapterName, configuration, seed: seed, isStrict: isStrict, isLoading: isLoading, dtype: dtype
    )
    try setAdapter([adapterName], trainable: !configuration.origin.inferenceMode)
  }

  /// Adds another adapter, which does not act yet.
  ///
  /// - Parameters:
  ///   - name: Its name.
  ///   - configuration: The adapter.
  ///   - seed: Start of the random numbers of its initial weights.
  ///   - dtype: Type of its numbers; nil for float32, or float64 beside such a base.
  /// - Throws: ``AdapterError`` when the name is taken or the configuration does not fit.
  public func addAdapter(
    _ name: String, _ configuration: any AdapterConfiguration, seed: UInt64 = 0,
    dtype: DType? = nil
  ) throws(AdapterError) {
    try add(name, configuration, seed: seed, isStrict: true, dtype: dtype)
  }

  func add(
    _ name: String, _ configuration: any AdapterConfiguration, seed: UInt64, isStrict: Bool,
    isLoading: Bool = false, dtype: DType? = nil
  ) throws(AdapterError) {
    try checkNew(name)
    try checkShapesSuffice(configuration)
    try checkBiases(configuration)
    try replicateLayers(configuration)
    // What an adapter copies are the model's own modules, not those of an adapter that acts.
    let copies = placed.filter { context.isEnabled && context.active.contains($0.name) }
      .flatMap(\.replacements)
    for entry in copies { entry.put(replaced: false) }
    defer { for entry in copies { entry.put(replaced: true) } }
    do {
      // Over shapes alone an adapter has no numbers either, as where a file is about to bring them.
      let made = try AdapterPlacement(
        model: base, context: context, dtype: dtype, isLoading: isLoading || device.kind == .meta
      ).place(name, configuration, generator: Generator(seed: seed), isStrict: isStrict)
      made.origin = AdapterMaking(
        configuration: configuration, seed: seed, isStrict: isStrict, dtype: dtype)
      placed.append(made)
    } catch {
      // What was put on layers before something did not fit.
      takeOff(name)
      throw error
    }
  }

  /// Takes an adapter off the model's parts.
  private func takeOff(_ name: String) {
    for place in adaptedPlaces {
      place.part.remove(name)
      if place.part.isEmpty { place.putBack() }
    }
  }

  /// Lets other adapters act; several add up.
  ///
  /// - Parameters:
  ///   - names: Adapters that act from now on.
  ///   - trainable: Whether they are trained.
  /// - Throws: ``AdapterError/name(_:exists:)`` for one that is not there,
  ///   ``AdapterError/conflict(_:)`` when two of them replace the same module.
  public func setAdapter(_ names: [String], trainable: Bool = false) throws(AdapterError) {
    var chosen: [PlacedAdapter] = []
    for name in names { chosen.append(try adapter(named: name)) }
    var replaced: [String: String] = [:]
    for adapter in chosen {
      for path in adapter.replacements.map(\.path) {
        if let other = replaced.updateValue(adapter.name, forKey: path) {
          throw .conflict("\(other) and \(adapter.name) both have a \(path) of their own")
        }
      }
    }
    try checkTogether(chosen, trainable: trainable)
    try checkCompanions(chosen)
    for adapter in placed { setTrainable(adapter, false) }
    for name in context.active { try adapter(named: name).act(false) }
    context.active = names
    for adapter in chosen {
      adapter.act(true)
      if trainable { setTrainable(adapter, true) }
    }
  }

  /// Runs `body` as if there were no adapters.
  ///
  /// - Parameter body: What to run.
  /// - Returns: What `body` returns.
  public func withAdaptersDisabled<Result>(_ body: () throws -> Result) rethrows -> Result {
    let before = context.isEnabled
    let acting = placed.filter { context.active.contains($0.name) }
    context.isEnabled = false
    for adapter in acting { adapter.act(false) }
    defer {
      context.isEnabled = before
      if before { for adapter in acting { adapter.act(true) } }
    }
    return try body()
  }

  /// Takes an adapter out.
  ///
  /// If it acted, nothing acts afterwards but the others that did.
  ///
  /// - Parameter name: The adapter.
  /// - Throws: ``AdapterError/name(_:exists:)`` when it is not there, ``AdapterError/conflict(_:)``
  ///   while it is merged.
  public func deleteAdapter(_ name: String) throws(AdapterError) {
    let adapter = try adapter(named: name)
    guard !isMerged(name) else {
      throw .conflict("\(name) is merged; unmerge it before it is deleted")
    }
    if context.active.contains(name) {
      adapter.act(false)
      context.active.removeAll { $0 == name }
    }
    takeOff(name)
    placed.removeAll { $0 === adapter }
    loadReports[name] = nil
  }

  /// Gives an adapter another name.
  ///
  /// - Parameters:
  ///   - name: The adapter.
  ///   - other: Its new name.
  /// - Throws: ``AdapterError/name(_:exists:)`` when it is not there or the new name is taken.
  public func renameAdapter(_ name: String, to other: String) throws(AdapterError) {
    let adapter = try adapter(named: name)
    guard name != other else { return }
    try checkNew(other)
    for place in adaptedPlaces { place.part.rename(name, to: other) }
    context.active = context.active.map { $0 == name ? other : $0 }
    adapter.name = other
    loadReports[other] = loadReports.removeValue(forKey: name)
  }
}

extension PeftModel {
  /// Parts that have adapters.
  var adaptedPlaces: [AdaptedPlace] {
    base.modules().compactMap { AdaptedPlace(path: $0.path, module: $0.module) }
  }

  /// Linear layers that have an adapter of a name.
  func adaptedLayers(
    _ name: String
  ) -> [(path: String, projection: AdaptedProjection, adapter: any LayerAdapter)] {
    adaptedPlaces.compactMap { place in
      guard let projection = place.part as? AdaptedProjection,
        let adapter = projection.adapter(name)
      else { return nil }
      return (place.path, projection, adapter)
    }
  }

  func adapter(named name: String) throws(AdapterError) -> PlacedAdapter {
    guard let found = placed.first(where: { $0.name == name }) else {
      throw .name(name, exists: false)
    }
    return found
  }

  private func checkNew(_ name: String) throws(AdapterError) {
    guard !name.isEmpty, !name.contains(".") else {
      throw .configuration(field: "adapter name", expected: "a name without dots", actual: name)
    }
    guard !placed.contains(where: { $0.name == name }) else { throw .name(name, exists: true) }
  }

  /// Puts the blocks of `layer_replication` in place, and readies what else a LoRA needs of a model.
  private func replicateLayers(_ configuration: any AdapterConfiguration) throws(AdapterError) {
    guard let lora = configuration as? LoRAConfig else { return }
    // What a decoder behind an encoder reads has no place in the row that begins an invocation.
    let hasBoth = base is EncoderDecoderForConditionalGeneration
    if lora.invocationTokens != nil, hasBoth || (base as? TaskModel)?.readsWithDecoder == true {
      throw .impossible(method: "LORA", what: "put into this model with alora_invocation_tokens")
    }
    if lora.invocationTokens != nil, context.invocations == nil {
      let invocations = Invocations()
      context.invocations = invocations
      (base as? any GenerativeModel)?.rowObserver = { [weak invocations] in
        invocations?.keep(rows: $0)
      }
    }
    guard let ranges = lora.layerReplication else { return }
    guard let model = base as? any LayerReplicating else {
      throw .impossible(method: "LORA", what: "put into this model with layer_replication")
    }
    let count = model.originalLayerCount
    guard ranges.allSatisfy({ $0.count == 2 && $0[0] >= 0 && $0[0] < $0[1] && $0[1] <= count })
    else {
      throw .configuration(
        field: "layer_replication", expected: "ranges in 0 to \(count)", actual: "\(ranges)")
    }
    let origins = ranges.flatMap { Array($0[0]..<$0[1]) }
    guard model.layerOrigins != origins else { return }
    guard placed.isEmpty, model.layerOrigins == Array(0..<count) else {
      throw .conflict(
        "the model's blocks are replicated or adapted already; layer_replication has "
          + "to come first")
    }
    model.replicateLayers(origins)
    basePaths = base.modules().map(\.path)
  }

  /// The model's biases can be trained for one adapter only.
  private func checkBiases(_ configuration: any AdapterConfiguration) throws(AdapterError) {
    func trainsBiases(_ configuration: any AdapterConfiguration) -> Bool {
      ((configuration as? any LayerConfiguration)?.selection.bias ?? .none) != .none
    }
    guard trainsBiases(configuration),
      let other = placed.first(where: { trainsBiases($0.configuration) })
    else { return }
    throw .conflict("the model's biases are trained with \(other.name) already")
  }

  func setTrainable(_ adapter: PlacedAdapter, _ value: Bool) {
    for (_, own) in adapter.parameters where own.isTrained {
      let parameter = own.parameter
      // A parameter over a mapped file is copied before anything may write to it.
      if value && !parameter.isTrainable { parameter.value = parameter.value.detached().cloned() }
      parameter.isTrainable = value
    }
  }
}
