import JSONValues
import Layers
import Tensors

extension LoRAConfig {
  /// Initial A and B of a layer.
  func initialFactors(
    _ site: LayerSite, rank: Int, scale: Double
  ) throws(AdapterError) -> LoRAFactors {
    try checkRank(site, rank)
    let (aShape, bShape) = ([rank, site.inputSize], [site.outputSize, rank])
    func made(_ a: Parameter, _ b: Parameter) -> LoRAFactors {
      LoRAFactors(a: a, b: b, scale: scale, dropout: dropout)
    }
    switch initialization {
    case .standard, .eva, .loftq: return made(site.linearUniform(aShape), site.zeros(bShape))
    case .corda, .loraGA:
      // Nothing is taken from the base until there is data.
      var factors = made(site.linearUniform(aShape), site.zeros(bShape))
      factors.start = (site.zeros(aShape), site.zeros(bShape))
      factors.savesStart = true
      return factors
    case .gaussian:
      return made(site.normal(aShape, deviation: 1 / Double(rank)), site.zeros(bShape))
    case .random: return made(site.linearUniform(aShape), site.linearUniform(bShape))
    case .orthogonal:
      let (a, b) = site.orthogonalFactors(rank: rank)
      return made(a, b)
    case .mica where site.isLoading:
      var factors = made(site.zeros(aShape), site.zeros(bShape))
      factors.trainsB = false
      return factors
    case .mica:
      let u = site.weightOnCPU().singularValueDecomposition().u
      let columns = u.size(1)
      var factors = made(
        site.zeros(aShape), site.parameter(u.narrowed(1, columns - rank..<columns)))
      factors.trainsB = false
      return factors
    case .pissaFast, .milora, .eigen:
      guard !site.isLoading else {
        // The file says what they were.
        var factors = made(site.zeros(aShape), site.zeros(bShape))
        factors.start = (site.zeros(aShape), site.zeros(bShape))
        factors.savesStart = true
        return factors
      }
      fallthrough
    case .pissa, .olora:
      let part = initialization.part(ofWeight: site.weightOnCPU(), rank: rank, scale: scale)
      var factors = made(site.parameter(part.a), site.parameter(part.b))
      factors.start = (site.parameter(part.a), site.parameter(part.b))
      factors.savesStart = !initialization.isReproducible
      return factors
    }
  }

  /// Checks the rank, and what a decomposition of W needs of its shape, also when a file is opened.
  private func checkRank(_ site: LayerSite, _ rank: Int) throws(AdapterError) {
    let smaller = min(site.inputSize, site.outputSize)
    switch initialization {
    case .standard, .gaussian, .random, .loraGA, .loftq:
      try site.check(rank: rank)
      return
    case .orthogonal:
      try site.check(rank: rank)
      guard rank.isMultiple(of: 2) else {
        throw misfit(site, field: "rank (r)", expected: "an even number", actual: "\(rank)")
      }
      return
    case .eigen where site.inputSize != site.outputSize:
      throw misfit(
        site, field: "init_lora_weights \"eigen\"",
        expected: "a square weight, as only such a one has eigenvectors",
        actual: "[\(site.outputSize), \(site.inputSize)]")
    default: break
    }
    guard rank <= smaller else {
      throw misfit(
        site, field: "rank (r)",
        expected: "at most \(smaller), the smaller side of the weight, for init_lora_weights "
          + initialization.json.serialized(), actual: "\(rank)")
    }
  }
}

/// A and B with s B A = U diag(S) V^T, which share the singular values.
func balancedFactors(
  _ u: Tensor, _ s: Tensor, _ vt: Tensor, scale: Double
) -> (a: Tensor, b: Tensor) {
  let root = (s / scale).squareRoot()
  return (root.unsqueezed(1) * vt, u * root)
}

extension LoRAConfig.Initialization {
  /// Factors with s B A a part of W.
  ///
  /// Computed on the processor, so that a file means the same wherever it is opened.
  ///
  /// - Parameters:
  ///   - weight: W, `[out, in]`, float32 or wider.
  ///   - rank: At most min(in, out).
  ///   - scale: s.
  /// - Returns: A `[rank, in]` and B `[out, rank]`.
  fileprivate func part(
    ofWeight weight: Tensor, rank: Int, scale: Double
  ) -> (a: Tensor, b: Tensor) {
    func balanced(_ u: Tensor, _ s: Tensor, _ vt: Tensor) -> (a: Tensor, b: Tensor) {
      balancedFactors(u, s, vt, scale: scale)
    }
    switch self {
    case .olora:
      let (q, r) = weight.qrDecomposition()
      return (r.narrowed(0, 0..<rank), q.narrowed(1, 0..<rank))
    case .pissaFast(let iterations):
      let (u, s, vt) = weight.randomizedSingularValueDecomposition(
        rank: rank, iterations: iterations, generator: Generator(seed: 0))
      return balanced(u, s, vt)
    case .eigen:
      let (values, vectors) = ((weight + weight.transposed()) * 0.5).symmetricEigenDecomposition()
      let chosen = values.absolute().largest(rank).indices
      let (l, q) = (values.selecting(0, chosen), vectors.selecting(1, chosen))
      let (a, b) = balanced(q, l.absolute(), q.transposed())
      return (a, b * l.sign())
    default:
      let (u, s, vt) = weight.singularValueDecomposition()
      let range = self == .milora ? s.count - rank..<s.count : 0..<rank
      return balanced(u.narrowed(1, range), s.narrowed(0, range), vt.narrowed(0, range))
    }
  }
}

extension LayerSite {
  /// W as numbers of the adapter's type, or wider ones that decompositions know, in the processor's
  /// memory.
  func weightOnCPU() -> Tensor {
    base.denseWeight().detached().to(.computing(dtype)).to(device: .cpu)
  }

  /// A and B with B A = 0 and neither of them zero.
  ///
  /// A's rows are combined of the even rows of a random rotation, B's columns of the odd ones; both
  /// have a tenth of a normal distribution's deviation.
  fileprivate func orthogonalFactors(rank: Int) -> (a: Parameter, b: Parameter) {
    func normal(_ shape: [Int]) -> Tensor {
      .randomNormal(shape, dtype: .computing(dtype), generator: generator)
    }
    let rotation = normal([rank, rank]).qrDecomposition().q
    let a = normal([inputSize, rank / 2])
      .matrixProduct(rotation.strided(0, from: 0, to: rank, by: 2)).transposed()
    let b = normal([outputSize, rank / 2])
      .matrixProduct(rotation.strided(0, from: 1, to: rank, by: 2))
    return (parameter(a * 0.1), parameter(b * 0.1))
  }
}
