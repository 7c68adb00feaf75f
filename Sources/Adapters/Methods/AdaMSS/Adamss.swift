import Layers
import Tensors

extension AdamssConfig: LayerMethod {
  func adapters(for sites: [LayerSite]) throws(AdapterError) -> LayerAdapters {
    var layers: [AdamssAdapter] = []
    for site in sites {
      layers.append(site.isLoading ? placeholder(site) : try made(site))
    }
    let named = zip(sites, layers).map { ($0.path, $1) }
    return LayerAdapters(
      layers: layers, training: usesAllocation ? AdamssAllocator(self, named) : nil,
      storage: AdamssStorage(self, zip(sites, layers).map { ($0.path, $0.base, $1) }))
  }

  private func made(_ site: LayerSite) throws(AdapterError) -> AdamssAdapter {
    let rank = AdamssSubspaces.rank(site.base, self)
    guard subspaceRank <= rank else {
      throw misfit(
        site, field: "subspace_rank", expected: "at most its \(rank) singular vectors",
        actual: "\(subspaceRank)")
    }
    let subspaces = AdamssSubspaces(site.base, self)
    let filled = subspaces.groups.count { !$0.isEmpty }
    guard filled == subspaces.groups.count else {
      throw misfit(
        site, field: "num_subspaces",
        expected: "at most \(filled), as the rows of its weight are not more different",
        actual: "\(subspaceCount)")
    }
    let start = subspaces.groups.indices.map { subspaces.start(ofGroup: $0, self) }
    return AdamssAdapter(
      site, a: start.map { Parameter($0.to(site.dtype)) },
      b: zip(start, subspaces.groups).map { start, group in
        let shape = [group.count, start.size(0)]
        return startsAtIdentity ? site.zeros(shape) : site.normal(shape, deviation: 0.01)
      },
      projection: Parameter(subspaces.right.to(site.dtype).contiguous()),
      places: Parameter(subspaces.order.to(device: site.device)))
  }

  /// Only shapes; those of A and B are in the file.
  private func placeholder(_ site: LayerSite) -> AdamssAdapter {
    let rank = AdamssSubspaces.rank(site.base, self)
    let groups = 0..<AdamssSubspaces.count(site.base, self)
    return AdamssAdapter(
      site, a: groups.map { _ in site.zeros([subspaceRank, rank]) },
      b: groups.map { _ in site.zeros([site.outputSize, subspaceRank]) },
      projection: site.zeros([rank, site.inputSize + (site.base.bias == nil ? 0 : 1)]),
      places: Parameter(.empty([site.outputSize], dtype: .int64, device: .meta)))
  }
}

/// The subspaces of one layer.
final class AdamssAdapter: LayerAdapter {
  let a: [Parameter]  // [k, rank] of each group
  let b: [Parameter]  // [outputs of the group, k]
  let projection: Parameter  // [rank, in] or, with a bias, [rank, in + 1]
  let places: Parameter  // int64 [out]: the outputs, group by group
  /// Inputs of a layer with a bias; nil of one without.
  private let inputSize: Int?
  /// For each output, where it stands in `places`.
  private var order: Tensor?

  init(
    _ site: LayerSite, a: [Parameter], b: [Parameter], projection: Parameter, places: Parameter
  ) {
    (self.a, self.b) = (a, b)
    (self.projection, self.places) = (projection, places)
    inputSize = site.base.bias == nil ? nil : site.inputSize
  }

  static let placesName = "adamss_scatter_index"

  var parameters: [AdapterParameter] {
    a.enumerated().map { AdapterParameter("adamss_A.\($0.offset)", $0.element) }
      + b.enumerated().map { AdapterParameter("adamss_B.\($0.offset)", $0.element) }
      + [
        AdapterParameter("adamss_newB", projection, isTrained: false),
        AdapterParameter(Self.placesName, places, isTrained: false),
      ]
  }

  /// Rows of A of all groups, `[sum of k, rank]`, and B in the order of the outputs with zeros where a
  /// row of A is another group's.
  private func blocks() -> (a: Tensor, b: Tensor) {
    let widths = a.map { $0.value.size(0) }
    let total = widths.reduce(0, +)
    var first = 0
    let rows = zip(b, widths).map { b, width in
      func zeros(_ count: Int) -> Tensor {
        .zeros([b.value.size(0), count], dtype: b.value.dtype, device: b.value.device)
      }
      defer { first += width }
      return Tensor.concatenated(
        [zeros(first), b.value, zeros(total - first - width)], dimension: 1)
    }
    let inverse = order ?? places.value.sorted().indices
    order = inverse
    return (.concatenated(a.map(\.value)), Tensor.concatenated(rows).selecting(0, inverse))
  }

  /// Narrow factors of the change of W, and the change of the bias `[out]` of a layer that has one.
  private func factors() -> (a: Tensor, b: Tensor, bias: Tensor?) {
    let (a, b) = blocks()
    let rows = a.matrixProduct(projection.value)  // [sum of k, in or in + 1]
    guard let inputSize else { return (rows, b, nil) }
    let bias = b.matrixProduct(rows.narrowed(1, inputSize..<inputSize + 1)).squeezed(1)
    return (rows.narrowed(1, 0..<inputSize), b, bias)
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let (a, b, bias) = factors()
    let result = addingLowRankProduct(
      to: y, x, a: a, b: b, scale: 1, dropout: 0, generator: nil)
    return bias.map { result.adding(wide: $0) } ?? result
  }

  func merge(into layer: inout MergedLayer) {
    let (a, b, bias) = factors()
    layer.weight.addInPlace(b.matrixProduct(a).detached().to(layer.weight.dtype))
    if let bias { layer.bias?.addInPlace(bias.detached().to(layer.weight.dtype)) }
  }

  func didLoad() throws(AdapterError) {
    order = nil
    let sorted = places.value.sorted().values.array(of: Int.self)
    guard sorted == Array(0..<places.count) else {
      throw .configuration(
        field: Self.placesName, expected: "each of 0 ..< \(places.count) once",
        actual: "\(sorted.first ?? 0) ... \(sorted.last ?? 0) with repeats")
    }
  }
}
