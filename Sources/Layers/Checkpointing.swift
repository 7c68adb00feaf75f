public import Tensors

extension Module {
  /// Gives the memory of frozen parameters that lie in a mapped file back to the system, which reads it
  /// again when it is used next.
  public func releaseFileBackedMemory() {
    for (_, parameter) in parameters() where !parameter.isTrainable {
      parameter.value.releaseFileBackedMemory()
    }
  }
}

/// Computes a part of a model without keeping its activations; the backward pass computes it again.
///
/// Frozen parameters that lie in a mapped file give their memory back to the system after each pass, so
/// that only the parts at work are resident.
///
/// - Parameters:
///   - inputs: Inputs of the part; those that require gradients get them.
///   - parameters: Parameters inside the part; trainable ones get their gradients accumulated.
///   - generator: The generator that `body` draws from, or nil.
///   - body: The part. It is run twice and must give the same numbers both times: random draws in
///     it come from generators whose state is restored. No output may be an input itself.
/// - Returns: What `body` returns.
/// - Note: Source: Chen et al. 2016, arXiv 1604.06174.
public func checkpointed(
  _ inputs: [Tensor], parameters: [Parameter], generator: Generator? = nil,
  _ body: @escaping ([Tensor]) -> [Tensor]
) -> [Tensor] {
  // One that several modules share gets its gradient once.
  var seen: Set<Parameter> = []
  let frozen = parameters.filter { !$0.isTrainable }
  let trainable = parameters.filter { $0.isTrainable && seen.insert($0).inserted }.map(\.value)
  let required = inputs.map(\.requiresGradient)
  return differentiable("Checkpoint", inputs + trainable) { all in
    let inputs = Array(all.prefix(required.count))
    let state = generator?.state
    defer { for parameter in frozen { parameter.value.releaseFileBackedMemory() } }
    return (
      body(inputs),
      { gradients in
        defer { for parameter in frozen { parameter.value.releaseFileBackedMemory() } }
        let after = generator?.state
        if let state { generator?.state = state }
        defer { if let after { generator?.state = after } }
        return withGradients {
          let again = zip(inputs, required).map { input, isRequired in
            let copy = input.detached()
            copy.requiresGradient = isRequired
            return copy
          }
          let outputs = body(again)
          let wanted = zip(again, required).filter { $1 }.map { $0.0 }
          var found = Tensor.gradients(
            of: outputs, gradients, withRespectTo: wanted + trainable)[...]
          return required.map { $0 ? found.removeFirst() : nil } + found
        }
      }
    )
  }
}
