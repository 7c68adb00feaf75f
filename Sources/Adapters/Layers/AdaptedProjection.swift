import Layers
import Tensors

/// A linear projection with adapters, over any base.
final class AdaptedProjection: Adapted<any LinearProjection, any LayerAdapter>, LinearProjection,
  AdaptedPart
{
  var inputSize: Int { base.inputSize }
  var outputSize: Int { base.outputSize }
  var bias: Parameter? { base.bias }
  var dtype: DType { base.dtype }
  var device: Device { base.device }
  var children: [(name: String, module: any Module)] { [("base_layer", base)] }

  func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    mapAdapterParameters(transform)
  }

  /// Adds an adapter; one of the same name acts after what that has here already.
  override func add(_ name: String, _ adapter: any LayerAdapter) {
    guard let own = self.adapter(name) else { return super.add(name, adapter) }
    replace(name, with: StackedAdapter([own, adapter]))
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    guard context.isEnabled else { return original(x) }
    if let rows = context.rowAdapters {
      // Several ways to go on from one row lie beside each other.
      let copies = max(1, x.size(0) / max(1, rows.count))
      let adapters = rows.flatMap { name in
        Array(repeating: name.flatMap(adapter) as? LoRAAdapter, count: copies)
      }
      return addingRowwiseProduct(to: base(x), x, adapters: adapters)
    }
    let acting = acting
    // Each adapter stands around what those before it make of the base; so merging them in the same
    // order gives the same layer.
    var input = x
    var seen: [Tensor] = []
    for adapter in acting.reversed() {
      seen.append(input)
      input = adapter.input(input, context)
    }
    var y = base(input)
    for (adapter, x) in zip(acting, seen.reversed()) {
      y = adapter.output(y, input: x, base: base, context)
    }
    return context.observe?(self, x, y) ?? y
  }

  func denseWeight() -> Tensor { base.denseWeight() }

  func replacing(weight: Tensor) -> any LinearProjection { base.replacing(weight: weight) }
}

extension AdaptedProjection {
  /// The base with the one plain LoRA that acts, or with none; nil where something else happens here.
  var explicitForm: ExplicitProjection? {
    guard context.isEnabled else { return original.explicitForm }
    let acting = acting
    guard let form = base.explicitForm, form.update == nil, context.observe == nil,
      context.rowAdapters == nil, acting.count <= 1
    else { return nil }
    guard let adapter = acting.first else { return form }
    guard let update = (adapter as? LoRAAdapter)?.plainUpdate(context) else { return nil }
    return ExplicitProjection(base: form.base, update: update)
  }

  /// With one plain LoRA that acts, or none.
  var treatsRowsAlone: Bool {
    guard context.isEnabled else { return original.treatsRowsAlone }
    let acting = acting
    return base.treatsRowsAlone && context.observe == nil && context.rowAdapters == nil
      && acting.count <= 1 && acting.allSatisfy { ($0 as? LoRAAdapter)?.isPlain == true }
  }

  func obstacle(toMerging name: String) -> String? {
    adapter(name)?.obstacle(toMergingInto: base)
  }

  func merging(_ names: [String], requantizing: Bool) -> MergedPart {
    let layer = mergedLayer(names)
    let made = projection(layer, requantizing: requantizing)
    return MergedPart(
      isFinite: layer.weight.isAllFinite && layer.bias?.isAllFinite != false,
      hold: { self.merge(names, as: made) })
  }

  /// The layer with adapters in its weight: W in the base's type, summed in float32 or wider and
  /// rounded once, as is the bias.
  private func mergedLayer(_ names: [String]) -> MergedLayer {
    withoutGradients {
      let dense = base.denseWeight().detached()
      let wide = DType.computing(dense.dtype)
      var layer = MergedLayer(
        weight: dense.to(wide).cloned(),
        bias: base.bias.map { $0.value.detached().to(wide).cloned() })
      for name in names { adapter(name)?.merge(into: &layer) }
      layer.weight = layer.weight.to(dense.dtype)
      layer.bias = layer.bias?.to(base.bias?.value.dtype ?? dense.dtype)
      return layer
    }
  }

  /// A projection over a merged weight: of the base's kind when `requantizing` or it is dense.
  private func projection(_ layer: MergedLayer, requantizing: Bool) -> any LinearProjection {
    let own = base.bias
    let bias = layer.bias.map { new in
      // The same object where nothing changed it, so that what else refers to it stays connected.
      own.map { $0.value.isEqual(to: new) ? $0 : Parameter(new) } ?? Parameter(new)
    }
    guard requantizing || base.storedCount == 0 else {
      return DenseProjection(weight: Parameter(layer.weight), bias: bias)
    }
    let made = base.replacing(weight: layer.weight)
    made.mapParameters { name, parameter in name == "bias" ? bias ?? parameter : parameter }
    return made
  }
}

extension Linear {
  /// The projection below adapters, without those that are merged into it.
  var unadapted: any LinearProjection {
    (projection as? AdaptedProjection)?.original ?? projection
  }

  /// The projection with adapters, put in place where there is none.
  func adapted(in context: AdapterContext) -> AdaptedProjection {
    if let own = projection as? AdaptedProjection { return own }
    let made = AdaptedProjection(base: projection, context: context)
    projection = made
    return made
  }
}
