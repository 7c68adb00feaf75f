import Layers
import Tensors

/// One low-rank update of one layer.
final class LoRAAdapter: LayerAdapter {
  let a: Parameter  // [rank, in]
  let b: Parameter  // [out, rank]
  let scale: Double
  let dropout: Double

  init(a: Parameter, b: Parameter, scale: Double, dropout: Double) {
    self.a = a
    self.b = b
    self.scale = scale
    self.dropout = dropout
  }

  /// Whether it is s B A and nothing else.
  var isPlain: Bool { true }

  var parameters: [AdapterParameter] {
    [AdapterParameter("lora_A.weight", a), AdapterParameter("lora_B.weight", b)]
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    addingLowRankProduct(
      to: y, x, a: a.value, b: b.value, scale: scale,
      dropout: context.isTraining ? dropout : 0, generator: context.generator)
  }

  func merge(into layer: inout MergedLayer) {
    layer.weight.addInPlace((b.value.matrixProduct(a.value) * scale).detached())
  }
}

extension LoRAConfig: LayerMethod, TokenTraining {
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let rank = try rankPattern.value(for: site.path, default: rank)
    try site.check(rank: rank)
    let (aShape, bShape) = ([rank, site.inputSize], [site.outputSize, rank])
    let (a, b) =
      switch initialization {
      case .standard: (site.linearUniform(aShape), site.zeros(bShape))
      case .gaussian: (site.normal(aShape, deviation: 1 / Double(rank)), site.zeros(bShape))
      case .random: (site.linearUniform(aShape), site.linearUniform(bShape))
      }
    return LoRAAdapter(
      a: a, b: b, scale: try scale(ofLayer: site.path, rank: rank), dropout: dropout)
  }
}
