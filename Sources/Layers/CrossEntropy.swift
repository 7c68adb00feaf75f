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
///   - chunkRows: Rows of logits that exist at a time; 128 if nil, 1024 where it is fused.
///   - fused: Whether a chunk goes through its logits part by part where the types allow it, with the
///     normaliser and the gradient brought up to date with each part of the words.
///   - products: What numbers the products of a fused chunk are computed with.
///   - kept: Keeps what those products make of a head that is not trained.
/// - Returns: A scalar in float32 (zero when no row has a label).
/// - Note: Source: the idea of arXiv 2411.09009 (Cut Cross-Entropy), here over row chunks.
public func linearCrossEntropy(
  _ hidden: Tensor, weight: Tensor, labels: Tensor, chunkRows: Int? = nil,
  fused: Bool = false, products: LossProducts = .float32, kept: KeptWordCodes? = nil
) -> Tensor {
  kept?.begin(weight)
  return differentiable("LinearCrossEntropy", [hidden, weight]) { inputs in
    let (hidden, weight) = (inputs[0], inputs[1])
    let rows = (labels .!= Double(ignoredLabel)).nonzeroIndices().reshaped([-1])
    let needsHidden = hidden.requiresGradient
    let total = Tensor.zeros([], dtype: .float32, device: hidden.device)
    let hiddenGradient = needsHidden ? hidden.zerosLike() : nil
    let weightGradient = weight.requiresGradient ? weight.zerosLike() : nil
    let isFused =
      fused && weightGradient == nil && hidden.dtype == .float32
      && weight.dtype == .float32 && hidden.device.kind == .cpu
    let chunk = chunkRows ?? (isFused ? 1024 : 128)
    for start in stride(from: 0, to: rows.count, by: chunk) {
      let places = rows.narrowed(0, start..<min(start + chunk, rows.count))
      let x = hidden.selecting(0, places)  // [C, D]
      if isFused {
        let (loss, gradient) = fusedCrossEntropy(
          x, weight, labels.selecting(0, places), needsGradient: needsHidden,
          products: products, kept: kept)
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
