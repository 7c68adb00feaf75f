import Layers
import Models
import Tensors

extension PeftModel {
  /// Over shapes alone an adapter has to begin without the base's numbers.
  func checkShapesSuffice(_ configuration: any AdapterConfiguration) throws(AdapterError) {
    guard device.kind == .meta else { return }
    var readsWeights = configuration.readsBlocks
    if var lora = configuration as? LoRAConfig {
      // Copies of parts of the base have shapes too.
      lora.selection.bias = .none
      lora.modulesToSave = []
      readsWeights = lora.readsBlocks
    }
    guard readsWeights else { return }
    throw .impossible(
      method: type(of: configuration).type,
      what:
        "put on shapes alone (the device meta), as it may read the base's weights when it starts; "
        + "load them first")
  }

  /// Lets the base take weights of a checkpoint, in place of those that it has or, on the device `meta`,
  /// only has the shapes of, and makes all adapters anew as over a base that was opened so.
  ///
  /// They begin with the numbers of their files, or with those of a new adapter of their seed: what they
  /// had learnt since is lost. ``trainableParameters`` are other objects then.
  ///
  /// - Parameter load: Lets the base take the weights.
  /// - Throws: What `load` throws, after which there are no adapters, ``AdapterError/conflict(_:)`` where
  ///   an adapter is merged or blocks were replicated, and what adding an adapter throws.
  public func loadBaseWeights(_ load: (Base) throws -> Void) throws {
    if let merged = placed.first(where: { isMerged($0.name) }) {
      throw AdapterError.conflict("\(merged.name) is merged; unmerge it before weights are loaded")
    }
    if placed.contains(where: { ($0.configuration as? LoRAConfig)?.layerReplication != nil }) {
      throw AdapterError.conflict("blocks were replicated for an adapter; load the weights before")
    }
    let (before, active) = (placed, context.active)
    let isTrained = before.contains { adapter in
      active.contains(adapter.name) && adapter.parameters.contains { $0.own.parameter.isTrainable }
    }
    for adapter in before { try deleteAdapter(adapter.name) }
    try load(base)
    device = base.weightDevice
    context.move(seed: seed, to: device)
    (base as? any AdaptableModel)?.dropoutGenerator = context.generator
    for (_, parameter) in base.parameters() { parameter.isTrainable = false }
    for adapter in before { try addAgain(adapter.name, adapter.origin) }
    try setAdapter(active, trainable: isTrained)
  }
}

extension Module {
  /// Where its weights are.
  var weightDevice: Device { parameters().first?.parameter.value.device ?? .cpu }
}
