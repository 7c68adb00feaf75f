import Layers
public import Models
import Tensors

extension PeftModel {
  /// Adds the active adapters' updates to the base weights and takes the adapters out.
  ///
  /// W becomes W + s B A, computed in float32 and rounded once to W's dtype. Modules that were
  /// trained whole stay in place of the original ones. A quantised W becomes a dense one, unless it
  /// is to be quantised anew, which rounds the updates to what its format holds.
  ///
  /// - Parameters:
  ///   - safely: Whether every merged weight is checked to be finite before any is changed.
  ///   - requantizing: Whether quantised weights keep their format, as in PEFT.
  /// - Returns: The model without adapters; this object must not be used afterwards.
  /// - Throws: ``AdapterError/notFinite(module:adapter:)`` when it checks and finds otherwise; then
  ///   nothing was changed.
  @discardableResult
  public func mergeAndUnload(
    safely: Bool = false, requantizing: Bool = false
  ) throws(AdapterError) -> DecoderForCausalLM {
    var merged: [(layer: Linear, projection: any LinearProjection)] = []
    for (path, module) in base.modules() {
      guard let layer = module as? Linear, let projection = layer.projection as? LoRAProjection
      else { continue }
      let weight = withoutGradients {
        let dense = projection.base.denseWeight()
        // Sums in float32 or wider, rounded once.
        let sum = dense.to(dense.dtype == .float64 ? .float64 : .float32).cloned()
        for name in context.active {
          if let weights = projection.weights(name) { sum.addInPlace(weights.delta.detached()) }
        }
        return sum.to(dense.dtype)
      }
      if safely && !weight.isAllFinite {
        throw .notFinite(module: path, adapter: context.active.joined(separator: ", "))
      }
      let base = projection.base
      merged.append(
        (
          layer,
          requantizing || base.storedCount == 0
            ? base.replacing(weight: weight)
            : DenseProjection(weight: Parameter(weight), bias: base.bias)
        ))
    }
    for (layer, projection) in merged { layer.projection = projection }
    for (_, parameter) in base.parameters() { parameter.isTrainable = false }
    return base
  }

  /// Takes the adapters out and leaves the base as it was.
  ///
  /// - Returns: The model without adapters; this object must not be used afterwards.
  @discardableResult
  public func unload() throws(AdapterError) -> DecoderForCausalLM {
    try setAdapter([])
    for (_, module) in base.modules() {
      if let layer = module as? Linear, let projection = layer.projection as? LoRAProjection {
        layer.projection = projection.base
      }
    }
    return base
  }
}
