import Layers
import Tensors

extension PeftModel {
  /// Adds adapters' updates to the base weights; the adapters stay, and can be taken out again.
  ///
  /// The weights before are kept, so that ``unmergeAdapter()`` gives them back bit for bit.
  ///
  /// - Parameters:
  ///   - names: Which adapters; nil for those that act.
  ///   - safely: Whether every merged weight is checked to be finite before any is changed.
  /// - Throws: ``AdapterError/notFinite(module:adapter:)`` when it checks and finds otherwise,
  ///   ``AdapterError/name(_:exists:)``, ``AdapterError/impossible(method:what:)``; then nothing was
  ///   changed.
  public func mergeAdapter(
    _ names: [String]? = nil, safely: Bool = false
  ) throws(AdapterError) {
    for part in try mergedParts(names, safely: safely, requantizing: false) { part.hold() }
  }

  /// Puts the base weights back as they were before ``mergeAdapter(_:safely:)``.
  public func unmergeAdapter() {
    for place in adaptedPlaces { place.part.unmerge() }
  }

  /// Adds adapters' updates to the base weights and takes the adapters out.
  ///
  /// W becomes W + D, computed in float32 or wider and rounded once to W's dtype. Modules that were
  /// trained whole stay in place of the original ones. A quantised W becomes a dense one, unless it
  /// is to be quantised anew, which rounds the updates to what its format holds.
  ///
  /// - Parameters:
  ///   - safely: Whether every merged weight is checked to be finite before any is changed.
  ///   - requantizing: Whether quantised weights keep their format, as in PEFT.
  ///   - names: Which adapters, in this order; nil for those that act.
  /// - Returns: The model without adapters; this object must not be used afterwards.
  /// - Throws: As ``mergeAdapter(_:safely:)``.
  @discardableResult
  public func mergeAndUnload(
    safely: Bool = false, requantizing: Bool = false, adapters names: [String]? = nil
  ) throws(AdapterError) -> Base {
    let chosen = names ?? context.active
    let merged = try mergedParts(chosen, safely: safely, requantizing: requantizing)
    try setAdapter(chosen)
    for part in merged { part.hold() }
    for place in adaptedPlaces { place.putBack() }
    tieAgain()
    for (_, parameter) in base.parameters() { parameter.isTrainable = false }
    return base
  }

  /// Takes the adapters out and leaves the base as it was.
  ///
  /// - Returns: The model without adapters; this object must not be used afterwards.
  @discardableResult
  public func unload() throws(AdapterError) -> Base {
    try setAdapter([])
    unmergeAdapter()
    for place in adaptedPlaces { place.putBack() }
    return base
  }

  /// Whether an adapter is in some weight.
  func isMerged(_ name: String) -> Bool {
    adaptedPlaces.contains { $0.part.mergedNames.contains(name) }
  }

  /// Why a method's adapters cannot be merged into weights, for a message; nil where they can.
  private func mergeObstacle(_ configuration: any AdapterConfiguration) -> String? {
    switch configuration {
    case let method as any ModelMethod: "merged, as \(type(of: method).mergeObstacle)"
    case let method as any LayerMethod: type(of: method).isMergeable ? nil : "merged"
    case is any PromptMethod, is AdaptionPromptConfig: "merged"
    default: nil
    }
  }

  /// The parts that change, each with what it becomes.
  private func mergedParts(
    _ names: [String]?, safely: Bool, requantizing: Bool
  ) throws(AdapterError) -> [MergedPart] {
    let names = names ?? context.active
    for name in names {
      let configuration = try adapter(named: name).configuration
      if let obstacle = mergeObstacle(configuration) {
        throw .impossible(method: type(of: configuration).type, what: obstacle)
      }
    }
    var result: [MergedPart] = []
    for place in adaptedPlaces {
      let own = names.filter {
        place.part.part($0) != nil && !place.part.mergedNames.contains($0)
      }
      guard !own.isEmpty else { continue }
      for name in own {
        guard let reason = place.part.obstacle(toMerging: name) else { continue }
        let method = type(of: try adapter(named: name).configuration).type
        throw .impossible(method: method, what: "merged into \(place.path), which \(reason)")
      }
      let merged = place.part.merging(own, requantizing: requantizing)
      guard merged.isFinite || !safely else {
        throw .notFinite(module: place.path, adapter: own.joined(separator: ", "))
      }
      result.append(merged)
    }
    return result
  }
}
