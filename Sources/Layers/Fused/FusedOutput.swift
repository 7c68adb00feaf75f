public import Tensors

/// A linear layer and the sum that it ends in, as one differentiable function:
/// r + x W^T + b + s x A^T B^T.
///
/// Keeps x and the narrow product.
///
/// ## Shapes
/// - x: `[..., size]`, residual and result: `[..., outputSize]`.
///
/// - Parameters:
///   - x: Input of the layer.
///   - layer: The layer.
///   - residual: r; nil for zero.
/// - Returns: The sum; nil where the types or places of something do not allow it.
public func fusedOutput(
  _ x: Tensor, _ layer: ExplicitProjection, addedTo residual: Tensor?
) -> Tensor? {
  let inputs = [x] + (residual.map { [$0] } ?? [])
  guard inputs.allSatisfy({ $0.dtype == .float32 && $0.device.kind == .cpu }), layer.isFusable
  else { return nil }
  let group = LinearGroup([layer])
  return differentiable("FusedOutput", inputs + group.trained) { inputs in
    let rows = inputs[0].rows().contiguous()
    let (shape, needsInput) = (inputs[0].shape, inputs[0].requiresGradient)
    let (outputs, narrow) = group(rows)
    if residual != nil { outputs[0].addInPlace(inputs[1].rows()) }
    return (
      outputs[0].reshaped(shape.dropLast() + [outputs[0].size(1)]),
      { gradient in
        let (input, trained) = group.gradients(
          [gradient.rows().contiguous()], narrow: narrow, needsInput: needsInput
        ) { RowSource(rows) }
        return [input?.reshaped(shape)] + (residual == nil ? [] : [gradient]) + trained
      }
    )
  }
}
