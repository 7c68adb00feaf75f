import Tensors

/// y + s x A^T B^T as one differentiable function that writes into y's memory.
///
/// Keeps x, which the base keeps anyway where its weight is trained, and the narrow product x A^T.
///
/// ## Shapes
/// - y: `[..., outputSize]`, x: `[..., inputSize]`, a: `[rank, inputSize]`, b: `[outputSize, rank]`.
///
/// - Precondition: y is fresh: nobody else reads its memory afterwards.
func addingLowRankProduct(
  to y: Tensor, _ x: Tensor, a: Tensor, b: Tensor, scale: Double, dropout: Double,
  generator: Generator?
) -> Tensor {
  let dropped = x.dropout(dropout, generator: generator)
  return differentiable("LoRA", [y, dropped, a, b]) { inputs in
    let (y, x, a, b) = (inputs[0], inputs[1], inputs[2], inputs[3])
    let rows = x.rows().to(a.dtype)  // [N, in]
    let narrow = rows.narrowProduct(a)  // [N, rank]
    let output: Tensor
    if y.dtype == b.dtype && y.isContiguous {
      output = y
      y.rows()
        .addMatrixProductInPlace(narrow, b.transposed(), scale: scale)
    } else {
      // A half-precision base: the sum is rounded once, at the end.
      let update = narrow.matrixProduct(b.transposed()).reshaped(y.shape)
      output = y.adding(wide: update * scale)
    }
    // Flags, not tensors, are for the pullback: y's memory would be kept with it.
    let (needsBase, needsInput) = (y.requiresGradient, x.requiresGradient)
    let (shape, type) = (x.shape, x.dtype)
    return (
      output,
      { gradient in
        let wide = gradient.rows().to(b.dtype)  // [N, out]
        let (inner, ofB) = wide.narrowGradients(  // [N, rank]
          b: b, narrow: RowPass.Columns(narrow), scale: scale, needsB: b.requiresGradient)
        return [
          needsBase ? gradient : nil,
          needsInput ? inner.linear(a.transposed()).reshaped(shape).to(type) : nil,
          a.requiresGradient ? rows.summed(times: inner) : nil,
          ofB,
        ]
      }
    )
  }
}
