import Layers
import Tensors

/// A linear projection with adapters, over any base.
final class AdaptedProjection: LinearProjection {
  /// What adapters are added to; the merged weight while adapters are merged.
  private(set) var base: any LinearProjection
  let context: AdapterContext
  private(set) var adapters: [(name: String, adapter: any LayerAdapter)] = []
  /// The base before adapters were merged into it, and which were.
  private(set) var merged: (original: any LinearProjection, names: [String])?

  /// The base before anything was merged into it.
  var original: any LinearProjection { merged?.original ?? base }

  init(base: any LinearProjection, context: AdapterContext) {
    self.base = base
    self.context = context
  }

  var inputSize: Int { base.inputSize }
  var outputSize: Int { base.outputSize }
  var bias: Parameter? { base.bias }
  var dtype: DType { base.dtype }
  var device: Device { base.device }
  var children: [(name: String, module: any Module)] { [("base_layer", base)] }

  func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    for (name, adapter) in adapters {
      for own in adapter.parameters + adapter.shared {
        // As PEFT names them in memory: "lora_A.<adapter>.weight".
        let parts = own.name.split(separator: ".", maxSplits: 1)
        _ = transform(
          ([parts[0], Substring(name)] + parts.dropFirst()).joined(separator: "."), own.parameter)
      }
    }
  }

  func adapter(_ name: String) -> (any LayerAdapter)? {
    adapters.first { $0.name == name }?.adapter
  }

  /// Adds an adapter; one of the same name acts after what that has here already.
  func add(_ name: String, _ adapter: any LayerAdapter) {
    if let index = adapters.firstIndex(where: { $0.name == name }) {
      adapters[index].adapter = StackedAdapter([adapters[index].adapter, adapter])
    } else {
      adapters.append((name, adapter))
    }
  }

  func remove(_ name: String) { adapters.removeAll { $0.name == name } }

  func rename(_ name: String, to other: String) {
    for index in adapters.indices where adapters[index].name == name {
      adapters[index].name = other
    }
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    guard context.isEnabled else { return (merged?.original ?? base)(x) }
    if let rows = context.rowAdapters {
      return addingRowwiseProduct(
        to: base(x), x, adapters: rows.map { $0.flatMap(adapter) as? LoRAAdapter })
    }
    let acting = context.active.filter { merged?.names.contains($0) != true }
      .compactMap(adapter)
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
    return y
  }

  func denseWeight() -> Tensor { base.denseWeight() }

  func replacing(weight: Tensor) -> any LinearProjection { base.replacing(weight: weight) }
}

extension AdaptedProjection {
  /// The layer with adapters in its weight: W in the base's type, summed in float32 or wider and
  /// rounded once, as is the bias.
  func mergedLayer(_ names: [String]) -> MergedLayer {
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
  func projection(_ layer: MergedLayer, requantizing: Bool) -> any LinearProjection {
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

  /// Lets a merged projection stand for some adapters.
  func merge(_ names: [String], as projection: any LinearProjection) {
    merged = (merged?.original ?? base, (merged?.names ?? []) + names)
    base = projection
  }

  /// Puts the base back as it was, bit for bit.
  func unmerge() {
    guard let merged else { return }
    base = merged.original
    self.merged = nil
  }
}
