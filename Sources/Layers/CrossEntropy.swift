import CKernels
public import Tensors

/// Label that does not count towards a loss.
public let ignoredLabel = -100

/// Summed cross entropy of a linear head, computed in chunks of rows.
///
/// sum over rows with a label of (log(sum(exp(z))) - z[label]), z = x W^T in float32. Rows whose
/// label is `ignoredLabel` cost nothing: the head is not computed for them. The gradient of each
/// chunk is computed in the same pass, so that no more than one chunk of logits ever exists.
///
/// ## Shapes
/// - hidden: `[rows, size]`, weight: `[vocabulary, size]`, labels: int64 `[rows]`.
///
/// - Parameters:
///   - hidden: Input of the head.
///   - weight: The head.
///   - labels: Right answers in `0 ..< vocabulary`, or `ignoredLabel`.
///   - chunkRows: Rows of logits that exist at a time.
///   - fused: Whether a chunk is done in two passes over its logits where the types allow it.
/// - Returns: A scalar in float32 (zero when no row has a label).
/// - Note: Source: the idea of arXiv 2411.09009 (Cut Cross-Entropy), here over row chunks.
public func linearCrossEntropy(
  _ hidden: Tensor, weight: Tensor, labels: Tensor, chunkRows: Int = 128,
  fused: Bool = false
) -> Tensor {
  differentiable("LinearCrossEntropy", [hidden, weight]) { inputs in
    let (hidden, weight) = (inputs[0], inputs[1])
    let rows = (labels .!= Double(ignoredLabel)).nonzeroIndices().reshaped([-1])
    let needsHidden = hidden.requiresGradient
    let total = Tensor.zeros([], dtype: .float32, device: hidden.device)
    let hiddenGradient = needsHidden ? hidden.zerosLike() : nil
    let weightGradient = weight.requiresGradient ? weight.zerosLike() : nil
    let isFused =
      fused && weightGradient == nil && hidden.dtype == .float32
      && weight.dtype == .float32 && hidden.device.kind == .cpu
    for start in stride(from: 0, to: rows.count, by: chunkRows) {
      let places = rows.narrowed(0, start..<min(start + chunkRows, rows.count))
      let x = hidden.selecting(0, places)  // [C, D]
      if isFused {
        let (loss, gradient) = fusedCrossEntropy(
          x, weight, labels.selecting(0, places), needsGradient: needsHidden)
        total.addInPlace(loss)
        if let gradient { hiddenGradient?.addInPlace(0, at: places, gradient) }
        continue
      }
      let answers = labels.selecting(0, places).unsqueezed(1)  // [C, 1]
      let logits = x.linear(weight).to(.float32)  // [C, V]
      let normalizer = logits.logSumExp(-1, keepDimension: true)  // [C, 1]
      total.addInPlace((normalizer - logits.gathered(1, answers)).sum())
      guard needsHidden || weightGradient != nil else { continue }
      // softmax(z) - one-hot, in place of the logits.
      let slope = logits.addInPlace(normalizer, scale: -1).exponentialInPlace()
      let chosen = slope.gathered(1, answers) + -1.0
      let typed = slope.scatteringInPlace(1, answers, chosen).to(weight.dtype)
      hiddenGradient?.addInPlace(0, at: places, typed.linear(weight.transposed()))
      weightGradient?.addMatrixProductInPlace(typed.transposed(), x)
    }
    return (
      total,
      { gradient in
        let scale = gradient.item()
        return [hiddenGradient?.multiplyInPlace(scale), weightGradient?.multiplyInPlace(scale)]
      }
    )
  }
}

/// The summed cross entropy of rows and the gradient of x, in two passes over the scores.
///
/// Their gradient is never written down: with p = softmax(z) it is p W - W[label] for a row, and p's
/// common factor is applied to that product.
private func fusedCrossEntropy(
  _ x: Tensor, _ weight: Tensor, _ labels: Tensor, needsGradient: Bool
) -> (loss: Tensor, gradient: Tensor?) {
  let scores = x.linear(weight).contiguous()  // [C, V]
  let (count, size) = (scores.size(0), scores.size(1))
  let answers = labels.to(.int64).contiguous()
  let losses = Tensor.empty([count], dtype: .float32)
  let factors = Tensor.empty([count], dtype: .float32)
  forEachBlockRange(
    count, blockSize: size, [scores, answers, losses, factors], name: "cross_entropy"
  ) {
    graft_cross_entropy(
      $0.elements(0, Float.self), $0.elements(1, Int64.self), Int64(size), needsGradient, $1, $2,
      $0.elements(2, Float.self), $0.elements(3, Float.self))
  }
  guard needsGradient else { return (losses.sum(), nil) }
  let gradient = scores.linear(weight.transposed()).multiplyInPlace(factors.unsqueezed(1))
  return (losses.sum(), gradient.addInPlace(weight.selecting(0, answers), scale: -1))
}
