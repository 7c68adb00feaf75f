public import Tensors

/// Computes a part of a model without keeping its activations; the backward pass computes it again.
///
/// - Parameters:
///   - x: Input of the part.
///   - parameters: Parameters inside the part; trainable ones get their gradients accumulated.
///   - generator: The generator that `body` draws from, or nil.
///   - body: The part. It is run twice and must give the same numbers both times: random draws in
///     it come from generators whose state is restored.
/// - Returns: What `body` returns.
/// - Note: Source: Chen et al. 2016, arXiv 1604.06174.
public func checkpointed(
  _ x: Tensor, parameters: [Parameter], generator: Generator? = nil,
  _ body: @escaping (Tensor) -> Tensor
) -> Tensor {
  // One that several modules share gets its gradient once.
  var seen: Set<Parameter> = []
  let trainable = parameters.filter { $0.isTrainable && seen.insert($0).inserted }.map(\.value)
  return differentiable("Checkpoint", [x] + trainable) { inputs in
    let state = generator?.state
    return (
      body(inputs[0]),
      { gradient in
        let after = generator?.state
        if let state { generator?.state = state }
        defer { if let after { generator?.state = after } }
        return withGradients {
          let again = inputs[0].detached()
          again.requiresGradient = x.requiresGradient
          let output = body(again)
          let wanted = (x.requiresGradient ? [again] : []) + trainable
          let found = output.gradients(of: wanted, gradient: gradient)
          return x.requiresGradient ? found : [nil] + found
        }
      }
    )
  }
}
