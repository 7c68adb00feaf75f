public import Tensors

/// What a body gives for a copy of x, and gradients of a weighted sum of that.
///
/// - Parameters:
///   - x: The body's input.
///   - trained: What gradients are wanted of besides x.
///   - body: Its outputs are weighted by fixed random numbers.
/// - Returns: The outputs, then the gradients of x and of `trained`; a scalar 0 where there is none.
public func outputsAndGradients(
  _ x: Tensor, _ trained: [Tensor], _ body: (Tensor) -> [Tensor]
) -> [Tensor] {
  let input = x.detached().cloned()
  input.requiresGradient = true
  let outputs = body(input)
  let sum = outputs.enumerated().map { index, y in
    let weights = Tensor.randomNormal(y.shape, generator: Generator(seed: UInt64(100 + index)))
    return (y * weights).sum()
  }.reduce(Tensor.zeros([])) { $0 + $1 }
  let gradients = sum.gradients(of: [input] + trained)
  return outputs.map { $0.detached() } + gradients.map { $0 ?? Tensor.zeros([]) }
}
