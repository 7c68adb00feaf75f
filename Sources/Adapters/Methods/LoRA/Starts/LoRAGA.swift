import Layers
import Tensors

extension PeftModel {
  /// A and B from singular directions of the loss's gradient at W, averaged over the batches.
  ///
  /// The decomposition's random start has a fixed seed.
  func startLoRAGA(
    _ placed: PlacedAdapter, _ config: LoRAConfig, _ batches: [CalibrationBatch]
  ) throws(AdapterError) {
    let layers = lowRankLayers(placed.name)
    for (path, projection, factors) in layers {
      let rank = factors.a.value.size(0)
      let smaller = min(projection.inputSize, projection.outputSize)
      try config.require(
        "rank (r) for \(path)", 2 * rank <= smaller,
        "at most \(smaller / 2), half the smaller side of the weight, for init_lora_weights "
          + "\"lora_ga\"", rank)
    }
    let gradients = weightGradients(batches)
    for (path, projection, factors) in layers {
      guard let sum = gradients[ObjectIdentifier(projection)], sum.isAllFinite else {
        throw .configuration(
          field: "calibration batches", expected: "a finite gradient at \(path)", actual: "none")
      }
      let weight = projection.original.denseWeight().detached().to(device: .cpu).to(sum.dtype)
      let (a, b) = (config.loraGA ?? LoRAGAConfig()).factors(
        gradient: sum.to(device: .cpu) / Double(batches.count), weight: weight,
        rank: factors.a.value.size(0), scale: factors.scale)
      setStart(factors, a: a, b: b)
    }
  }

  /// Sums of dL/dy^T x over the batches, by layer: no weight has to be trainable or dense for it.
  private func weightGradients(_ batches: [CalibrationBatch]) -> [ObjectIdentifier: Tensor] {
    var sums: [ObjectIdentifier: Tensor] = [:]
    for batch in batches {
      context.observe = { layer, x, y in
        let key = ObjectIdentifier(layer)
        let rows = x.detached().rows()
        return differentiable("calibration", [y]) { inputs in
          // A new tensor: what goes in and what comes out are not one object.
          let same = inputs[0].cloned()
          let pullback = { (gradient: Tensor) -> [Tensor?] in
            let wide = DType.computing(gradient.dtype)
            let product = gradient.rows().to(wide).transposed().matrixProduct(rows.to(wide))
            sums[key] = sums[key].map { $0.addInPlace(product) } ?? product
            return [gradient]
          }
          return (same, pullback)
        }
      }
      let loss = batch.loss()
      if loss.requiresGradient { loss.backward() }
      context.observe = nil
    }
    return sums
  }
}

extension LoRAGAConfig {
  /// A and B of one layer.
  func factors(
    gradient: Tensor, weight: Tensor, rank: Int, scale s: Double
  ) -> (a: Tensor, b: Tensor) {
    let (u, values, vt) = gradient.randomizedSingularValueDecomposition(
      rank: 2 * rank, oversampling: 2 * rank, iterations: 4, generator: Generator(seed: 0))
    let first = Tensor.arange(0, rank)
    let (forA, forB): (Tensor, Tensor)
    switch direction {
    case .alternating: (forA, forB) = (first * 2 + 1, first * 2)
    case .secondHalfForA: (forA, forB) = (first + Double(rank), first)
    case .firstHalfForA: (forA, forB) = (first, first + Double(rank))
    case .random:
      let drawn = Tensor.randomPermutation(2 * rank, generator: Generator(seed: 0))
        .narrowed(0, 0..<rank)
      (forA, forB) = (drawn, drawn)
    }
    let lengths = values.selecting(0, forB.to(.int64))
    let a = vt.selecting(0, forA.to(.int64))
    let b = u.selecting(1, forB.to(.int64)) * lengths
    switch scale {
    case .unit: return (a, b)
    case .gradientDescent: return (a / s, b / s)
    case .stable:
      let root = Double(weight.size(0)).squareRoot().squareRoot()
      return (a, b * (root / Double(stableGamma).squareRoot()))
    case .weightSVD:
      let longest = lengths.narrowed(0, 0..<1).item()
      guard longest > 0 else { return (a, b) }
      let largest = weight.randomizedSingularValueDecomposition(
        rank: 1, iterations: 4, generator: Generator(seed: 0)
      ).s.item()
      return (a, b * (largest / longest))
    }
  }
}
