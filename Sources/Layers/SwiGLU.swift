public import Tensors

/// silu(gate) * up as one differentiable function.
///
/// Keeps only its two inputs.
///
/// - Parameters:
///   - gate: Any shape.
///   - up: The same shape.
/// - Returns: The same shape.
/// - Note: Source: Shazeer 2020, arXiv 2002.05202.
public func swiGLU(gate: Tensor, up: Tensor) -> Tensor {
  differentiable("SwiGLU", [gate, up]) { inputs in
    let (gate, up) = (inputs[0], inputs[1])
    return (
      gate.silu().multiplyInPlace(up),
      { gradient in
        let gateGradient = gate.siluPullback(gradient * up)
        return [gateGradient, gate.silu().multiplyInPlace(gradient)]
      }
    )
  }
}
