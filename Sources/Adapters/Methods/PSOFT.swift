import Layers
import Tensors

extension PSOFTConfig: LayerMethod {
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let smaller = min(site.inputSize, site.outputSize)
    guard rank <= smaller else {
      throw misfit(
        site, field: "rank (r)", expected: "at most the smaller of its dimensions, \(smaller)",
        actual: "\(rank)")
    }
    let scale = alpha / Double(rank)
    let weight = site.base.denseWeight().detached().to(.computing(site.base.dtype))
    let (u, s, v) = leading(weight)
    let scaled = s * (1 / scale)
    let (a, b) =
      switch split {
      case .asymmetric: (v, u * scaled)
      case .symmetric:
        (scaled.squareRoot().unsqueezed(1) * v, u * scaled.squareRoot())
      }
    return PSOFTAdapter(
      PSOFTRotation(site, self), a: a.contiguous(), b: (b * scale).contiguous(), dropout: dropout)
  }

  /// W's leading singular values and vectors.
  private func leading(_ weight: Tensor) -> (u: Tensor, s: Tensor, v: Tensor) {
    switch decomposition {
    case .full:
      let (u, s, v) = weight.singularValueDecomposition()
      return (u.narrowed(1, 0..<rank), s.narrowed(0, 0..<rank), v.narrowed(0, 0..<rank))
    case .lowrank:
      // On the processor, so that a seed gives the same vectors on every device.
      let matrix = weight.to(device: .cpu)
      let isTall = matrix.size(0) >= matrix.size(1)
      let (u, s, v) = (isTall ? matrix : matrix.transposed()).randomizedSingularValueDecomposition(
        rank: rank, oversampling: 0, iterations: iterations,
        generator: Generator(seed: UInt64(seed)))
      func moved(_ tensor: Tensor) -> Tensor { tensor.to(device: weight.device) }
      return isTall
        ? (moved(u), moved(s), moved(v))
        : (moved(v.transposed()), moved(s), moved(u.transposed()))
    }
  }
}

/// R of one layer.
struct PSOFTRotation {
  let weight: Parameter  // [rank (rank - 1) / 2], or [rank, rank]
  let b: Parameter?  // [rank]
  let a: Parameter?  // [rank]
  private let triangles: UpperTriangles?
  private let transform: CayleyTransform
  private let bound: Double?

  init(_ site: LayerSite, _ config: PSOFTConfig) {
    let rank = config.rank
    let shape = config.isOrthogonal ? [UpperTriangles.count(rank)] : [rank, rank]
    weight =
      config.hasStandardInitialization ? site.zeros(shape) : site.normal(shape, deviation: 0.1)
    if !config.isOrthogonal && !site.isLoading {
      let identity = Tensor.identity(rank, dtype: site.dtype, device: site.device)
      weight.value.addInPlace(identity)
    }
    b = config.scalesOutput ? site.constant([rank], 1) : nil
    a = config.scalesInput ? site.constant([rank], 1) : nil
    triangles = config.isOrthogonal ? UpperTriangles(size: rank, device: site.device) : nil
    transform = config.usesSeries ? .series(terms: config.seriesTerms) : .exact
    bound = config.usesSeries ? config.seriesBound : nil
  }

  var parameters: [AdapterParameter] {
    [AdapterParameter("psoft_R.weight", weight)]
      + (b.map { [AdapterParameter("psoft_R.vector_b", $0)] } ?? [])
      + (a.map { [AdapterParameter("psoft_R.vector_a", $0)] } ?? [])
  }

  /// R - I, `[rank, rank]`.
  func change(_ type: DType) -> Tensor {
    var r = weight.value.to(type)
    if let triangles {
      var q = triangles.skewSymmetric(r.unsqueezed(0)).selected(0, 0)
      if let bound {
        // The floor keeps the derivative of the norm at zero out of the way.
        let norm = (q * q).sum().clamped(lower: 1e-24).squareRoot()
        q = .choosing(norm .> bound, q * ((norm + 1e-12).reciprocal() * bound), q)
      }
      r = transform(q)
    }
    if let b { r = b.value.to(type).unsqueezed(1) * r }
    if let a { r = r * a.value.to(type) }
    return r - Tensor.identity(r.size(0), dtype: r.dtype, device: r.device)
  }
}

/// A rotation in a subspace of one layer's inputs and outputs.
final class PSOFTAdapter: LayerAdapter {
  let rotation: PSOFTRotation
  let a: Tensor  // [rank, in]
  let b: Tensor  // [out, rank], with the scale
  let dropout: Double

  init(_ rotation: PSOFTRotation, a: Tensor, b: Tensor, dropout: Double) {
    self.rotation = rotation
    self.a = a
    self.b = b
    self.dropout = dropout
  }

  var parameters: [AdapterParameter] { rotation.parameters }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let narrow = context.dropped(x, dropout).to(a.dtype).linear(a)
    return y.adding(wide: narrow.linear(rotation.change(a.dtype)).linear(b))
  }

  func merge(into layer: inout MergedLayer) {
    withoutGradients {
      let left = b.matrixProduct(rotation.change(a.dtype))
      layer.weight.addMatrixProductInPlace(left, a)
    }
  }
}
