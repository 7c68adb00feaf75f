import Layers
import Tensors

extension AdaLoRAConfig: LayerMethod {
  func adapters(for sites: [LayerSite]) throws(AdapterError) -> LayerAdapters {
    for path in (rankMasks ?? [:]).keys.sorted() {
      try require(
        "rank_pattern", sites.contains { $0.path == path }, "layers that have the adapter", path)
    }
    let layers = sites.map { site in
      let mask = rankMasks?[site.path]
      let places = mask.map { mask in mask.indices.filter { mask[$0] } }
      let rank = places?.count ?? initialRank
      let deviation = startsAtIdentity ? 0.02 : 1
      return AdaLoRAAdapter(
        a: site.normal([rank, site.inputSize], deviation: deviation),
        b: site.normal([site.outputSize, rank], deviation: deviation),
        e: startsAtIdentity ? site.zeros([rank, 1]) : site.normal([rank, 1]),
        scale: (alpha > 0 ? alpha : Double(rank)) / (Double(initialRank) + 1e-5),
        places: places ?? Array(0..<initialRank), dropout: dropout)
    }
    let allocator = AdaLoRAAllocator(self, zip(sites, layers).map { ($0.path, $1) })
    return LayerAdapters(layers: layers, training: allocator, storage: allocator)
  }
}

/// The triplets of one layer.
final class AdaLoRAAdapter: FactoredAdapter {
  let a: Parameter  // [rank, in]
  let b: Parameter  // [out, rank]
  let e: Parameter  // [rank, 1]
  let scale: Double
  /// Which of the initial ranks the rows are.
  let places: [Int]
  let dropout: Double

  init(a: Parameter, b: Parameter, e: Parameter, scale: Double, places: [Int], dropout: Double) {
    (self.a, self.b, self.e) = (a, b, e)
    (self.scale, self.places, self.dropout) = (scale, places, dropout)
  }

  var parameters: [AdapterParameter] {
    [
      AdapterParameter("lora_A", a), AdapterParameter("lora_B", b), AdapterParameter("lora_E", e),
    ]
  }

  func factors() -> (a: Tensor, b: Tensor) { (a.value * e.value, b.value) }

  /// How far A's rows and B's columns are from orthonormal, two scalars.
  func departures() -> [Tensor] {
    let identity = Tensor.identity(places.count, dtype: a.value.dtype, device: a.value.device)
    return [
      (a.value.matrixProduct(a.value.transposed()) - identity).norm(),
      (b.value.transposed().matrixProduct(b.value) - identity).norm(),
    ]
  }
}
