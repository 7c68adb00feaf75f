import Layers
import Tensors

/// An adapter of one part of a model: of a linear layer, an embedding or a convolution.
protocol PartAdapter: AnyObject {
  /// Tensors of the adapter, with the names that files put behind the part's path.
  var parameters: [AdapterParameter] { get }

  /// Trained tensors that it shares with adapters of other parts, as they are called in memory; files
  /// have them once, from ``LayerAdapters/shared``.
  var shared: [AdapterParameter] { get }

  /// Called when the tensors have been read from a file, for what is computed from them.
  ///
  /// - Throws: ``AdapterError`` when their numbers cannot be.
  func didLoad() throws(AdapterError)
}

extension PartAdapter {
  var shared: [AdapterParameter] { [] }

  func didLoad() throws(AdapterError) {}
}

/// A part of a model with adapters on it.
protocol AdaptedPart: AnyObject {
  /// Adapters that are merged into it.
  var mergedNames: [String] { get }
  /// Names and adapters, in the order they were added.
  var parts: [(name: String, adapter: any PartAdapter)] { get }
  /// Type of what the base computes with, for example "DenseProjection".
  var baseType: String { get }
  /// The adapter of a name, or nil.
  func part(_ name: String) -> (any PartAdapter)?
  func remove(_ name: String)
  func rename(_ name: String, to other: String)
  /// Puts the base back as it was, bit for bit.
  func unmerge()
  /// Why an adapter cannot be merged into the part, for a message; nil when it can.
  func obstacle(toMerging name: String) -> String?
  /// What the part becomes with some adapters in its weight.
  func merging(_ names: [String], requantizing: Bool) -> MergedPart
}

extension AdaptedPart {
  /// Whether it has no adapters any more.
  var isEmpty: Bool { parts.isEmpty }
}

/// A merge that was computed and can be put in place.
struct MergedPart {
  /// Whether every number of it is finite.
  let isFinite: Bool
  /// Lets it stand for the adapters.
  let hold: () -> Void
}

/// What parts with adapters have in common.
class Adapted<Base, Adapter> {
  /// What adapters are added to; the merged one while adapters are merged.
  private(set) var base: Base
  let context: AdapterContext
  private(set) var adapters: [(name: String, adapter: Adapter)] = []
  /// The base before adapters were merged into it, and which were.
  private(set) var merged: (original: Base, names: [String])?

  init(base: Base, context: AdapterContext) {
    self.base = base
    self.context = context
  }

  var mergedNames: [String] { merged?.names ?? [] }
  var parts: [(name: String, adapter: any PartAdapter)] {
    adapters.compactMap { entry in
      (entry.adapter as? any PartAdapter).map { (entry.name, $0) }
    }
  }
  var baseType: String { String(describing: type(of: original as Any)) }
  /// The base without adapters.
  var original: Base { merged?.original ?? base }
  /// Adapters that act and are not merged, in order.
  var acting: [Adapter] {
    context.active.filter { merged?.names.contains($0) != true }.compactMap(adapter)
  }

  func adapter(_ name: String) -> Adapter? { adapters.first { $0.name == name }?.adapter }

  func part(_ name: String) -> (any PartAdapter)? { adapter(name) as? any PartAdapter }

  func add(_ name: String, _ adapter: Adapter) { adapters.append((name, adapter)) }

  func remove(_ name: String) { adapters.removeAll { $0.name == name } }

  func rename(_ name: String, to other: String) {
    for index in adapters.indices where adapters[index].name == name {
      adapters[index].name = other
    }
  }

  /// Puts another adapter in the place of one.
  func replace(_ name: String, with adapter: Adapter) {
    for index in adapters.indices where adapters[index].name == name {
      adapters[index].adapter = adapter
    }
  }

  /// Puts another base under the adapters.
  func replaceBase(_ base: Base) { self.base = base }

  /// Lets a merged base stand for some adapters.
  func merge(_ names: [String], as base: Base) {
    merged = (original, mergedNames + names)
    self.base = base
  }

  func unmerge() {
    base = original
    merged = nil
  }

  /// The adapters' parameters, as PEFT names them in memory: "lora_A.<adapter>.weight".
  func mapAdapterParameters(_ transform: (String, Parameter) -> Parameter) {
    for (name, adapter) in parts {
      for own in adapter.parameters + adapter.shared {
        let parts = own.name.split(separator: ".", maxSplits: 1)
        _ = transform(
          ([parts[0], Substring(name)] + parts.dropFirst()).joined(separator: "."), own.parameter)
      }
    }
  }
}
