import Layers
import Tensors

extension PeftModel {
  /// A and B from components of W that are weighted by the inputs' covariance.
  ///
  /// With C the mean of x^T x of batches that are divided by their largest element, made invertible,
  /// and W C = U S V^T: B = U sqrt(S / s) and A = sqrt(S / s) V^T C^-1 of the largest or smallest
  /// components, so that s B A is a part of W.
  func startCorDA(
    _ placed: PlacedAdapter, _ config: LoRAConfig, _ batches: [CalibrationBatch]
  ) throws(AdapterError) {
    var sums: [ObjectIdentifier: Tensor] = [:]
    for batch in batches {
      observeInputs(batch, positions: batch.positions) { layer, rows in
        let largest = abs(rows.max().item())
        let scaled = largest > 0 ? rows / largest : rows
        let product = scaled.transposed().matrixProduct(scaled)
        sums[layer] = sums[layer].map { $0.addInPlace(product) } ?? product
      }
    }
    let mode = (config.corda ?? CorDAConfig()).mode
    for (path, projection, factors) in lowRankLayers(placed.name) {
      guard let sum = sums[ObjectIdentifier(projection)]?.to(device: .cpu) else { continue }
      guard sum.isAllFinite, sum.diagonal().sum().item() > 0 else {
        throw .configuration(
          field: "calibration batches", expected: "inputs of \(path) that are finite and not zero",
          actual: "others")
      }
      let (covariance, inverse) = invertible(sum / Double(batches.count))
      let w = projection.original.denseWeight().detached().to(device: .cpu).to(sum.dtype)
      let (u, s, vt) = w.matrixProduct(covariance).singularValueDecomposition()
      let rank = factors.a.value.size(0)
      let range = mode == .instructionPreviewed ? 0..<rank : s.count - rank..<s.count
      let (a, b) = balancedFactors(
        u.narrowed(1, range), s.narrowed(0, range), vt.narrowed(0, range), scale: factors.scale)
      setStart(factors, a: a.matrixProduct(inverse), b: b)
    }
  }

  /// C with as much of its mean variance on the diagonal as makes its inverse exact to 0.05.
  private func invertible(_ covariance: Tensor) -> (matrix: Tensor, inverse: Tensor) {
    let size = covariance.size(0)
    let identity = Tensor.identity(size, dtype: covariance.dtype)
    let mean = covariance.diagonal().mean().item()
    var damping = 0.01
    while true {
      let matrix = covariance + identity * (mean * damping)
      let inverse = matrix.inverse()
      if (matrix.matrixProduct(inverse) - identity).norm().item() < 0.05 {
        return (matrix, inverse)
      }
      damping *= 2
    }
  }
}
