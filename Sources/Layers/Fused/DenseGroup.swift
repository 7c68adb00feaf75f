package import Tensors

/// Dense layers add what low rank gives in the pass over their outputs, where our kernel computes them.
extension DenseProjection: GroupedProjection {
  /// As the protocol says; nil where a layer is of another kind or ``Runtime/usesFastProducts`` is off.
  package func outputs(
    _ rows: Tensor, of group: [any LinearProjection], adding terms: [NarrowTerm?],
    into memory: [Tensor]?
  ) -> [Tensor]? {
    guard let layers = Self.multipliedByKernel(group, rows: rows) else { return nil }
    return layers.enumerated().map { index, layer in
      rows.kernelProduct(
        layer.weight.value, bias: layer.bias?.value, adding: terms[index], into: memory?[index])
    }
  }

  /// As the protocol says; nil as above.
  package func pulledBack(
    _ gradients: [Tensor?], of group: [any LinearProjection], adding term: NarrowTerm?
  ) -> Tensor? {
    guard let layers = Self.multipliedByKernel(group, rows: gradients.compactMap(\.self).first)
    else { return nil }
    var sum: Tensor?
    for case (let layer, let gradient?) in zip(layers, gradients) {
      sum = gradient.contiguous().kernelProduct(
        layer.weight.value.transposed(), adding: sum == nil ? term : nil, into: sum,
        adds: sum != nil)
    }
    return sum
  }

  private static func multipliedByKernel(
    _ group: [any LinearProjection], rows: Tensor?
  ) -> [DenseProjection]? {
    guard Runtime.usesFastProducts, Tensor.hasFloat32Kernel, let rows, rows.dtype == .float32,
      rows.device.kind == .cpu
    else { return nil }
    let layers = group.compactMap { $0 as? DenseProjection }
    let fits = layers.allSatisfy {
      $0.dtype == .float32 && $0.device.kind == .cpu && $0.weight.value.isContiguous
        && $0.bias?.value.device.kind ?? .cpu == .cpu
    }
    return fits && layers.count == group.count ? layers : nil
  }
}
