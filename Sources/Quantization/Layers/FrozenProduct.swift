import Tensors

/// x W^T + b of a frozen W as one differentiable function that keeps neither x nor W as numbers.
///
/// - Parameters:
///   - name: Shown in LibTorch's messages about the graph.
///   - x: `[..., inputSize]`.
///   - bias: `[outputSize]`, or nil.
///   - forward: Computes the output of x and the bias.
///   - inputGradient: Computes x's gradient from the output's, of any floating-point type.
/// - Returns: `[..., outputSize]`.
func frozenProduct(
  _ name: StaticString, _ x: Tensor, bias: Tensor?,
  forward: (_ x: Tensor, _ bias: Tensor?) -> Tensor,
  inputGradient: @escaping (_ gradient: Tensor) -> Tensor
) -> Tensor {
  differentiable(name, [x] + (bias.map { [$0] } ?? [])) { inputs in
    let (x, bias) = (inputs[0], inputs.count > 1 ? inputs[1] : nil)
    let (needsInput, type) = (x.requiresGradient, x.dtype)
    return (
      forward(x, bias),
      { gradient in
        var results = [needsInput ? inputGradient(gradient).to(type) : nil]
        if let bias {
          results.append(
            bias.requiresGradient
              ? gradient.rows().sum([0]).to(bias.dtype) : nil)
        }
        return results
      }
    )
  }
}
