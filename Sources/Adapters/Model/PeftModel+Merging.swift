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
    for entry in try mergedLayers(names, safely: safely, requantizing: false) {
      entry.adapted.merge(entry.names, as: entry.projection)
    }
  }

  /// Puts the base weights back as they were before ``mergeAdapter(_:safely:)``.
  public func unmergeAdapter() {
    for (_, projection) in adaptedLayers { projection.unmerge() }
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
    let merged = try mergedLayers(chosen, safely: safely, requantizing: requantizing)
    for adapter in placed { adapter.act(chosen.contains(adapter.name)) }
    for (layer, projection) in adaptedLayers { layer.projection = projection.base }
    for entry in merged { entry.layer.projection = entry.projection }
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
    for (layer, projection) in adaptedLayers { layer.projection = projection.base }
    return base
  }

  private typealias MergedProjection = (
    layer: Linear, adapted: AdaptedProjection, names: [String], projection: any LinearProjection
  )

  /// The layers that change, each with what it becomes.
  private func mergedLayers(
    _ names: [String]?, safely: Bool, requantizing: Bool
  ) throws(AdapterError) -> [MergedProjection] {
    let names = names ?? context.active
    for name in names {
      let configuration = try adapter(named: name).configuration
      if let method = configuration as? any ModelMethod {
        let kind = type(of: method)
        throw .impossible(method: kind.type, what: "merged, as \(kind.mergeObstacle)")
      }
      guard (configuration as? any LayerMethod).map({ type(of: $0).isMergeable }) ?? true else {
        throw .impossible(method: type(of: configuration).type, what: "merged")
      }
    }
    var result: [MergedProjection] = []
    for (layer, projection) in adaptedLayers {
      let own = names.filter {
        projection.adapter($0) != nil && projection.merged?.names.contains($0) != true
      }
      guard !own.isEmpty else { continue }
      for name in own {
        guard let reason = projection.adapter(name)?.obstacle(toMergingInto: projection.base) else {
          continue
        }
        let path = base.modules().first { $0.module === layer }?.path ?? ""
        let method = type(of: try adapter(named: name).configuration).type
        throw .impossible(method: method, what: "merged into \(path), which \(reason)")
      }
      let merged = projection.mergedLayer(own)
      if safely, !merged.weight.isAllFinite || merged.bias?.isAllFinite == false {
        let path = base.modules().first { $0.module === layer }?.path ?? ""
        throw .notFinite(module: path, adapter: own.joined(separator: ", "))
      }
      result.append(
        (layer, projection, own, projection.projection(merged, requantizing: requantizing)))
    }
    return result
  }
}
