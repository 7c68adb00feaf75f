import CTorch

/// The backward half of a differentiable function.
///
/// Gets the derivative of the final quantity with respect to each output (nil where an output was
/// not used) and returns the one with respect to each input (nil where an input needs none).
public typealias Pullback = (_ gradients: [Tensor?]) -> [Tensor?]

/// Applies a function whose derivative is written by hand.
///
/// LibTorch's autograd engine calls the pullback. Only what the pullback captures is kept until
/// then, so this is how fused layers, activation checkpointing and quantised layers decide what
/// stays in memory.
///
/// `forward` runs without recording. It must not change its inputs in place, and neither inputs nor
/// captured tensors may be changed before the backward pass (unlike for LibTorch's own operators,
/// this is not detected). Unless gradients are being recorded and an input requires one, the
/// pullback is dropped at once. The pullback runs without recording: such a function cannot be
/// differentiated twice.
///
/// - Parameters:
///   - name: Shown in LibTorch's messages about the graph.
///   - inputs: Tensors that the function differentiates with respect to.
///   - forward: Computes the outputs and returns them with the pullback.
/// - Returns: The outputs, as functions of the inputs.
public func differentiable(
  _ name: StaticString, _ inputs: [Tensor],
  forward: ([Tensor]) -> (outputs: [Tensor], pullback: Pullback)
) -> [Tensor] {
  let (outputs, pullback) = withScope(.function, "\(name)") {
    withoutGradients { forward(inputs) }
  }
  guard isRecordingGradients, inputs.contains(where: \.requiresGradient) else { return outputs }
  let context = PullbackContext(pullback)
  var results = [ctorch_tensor?](repeating: nil, count: outputs.count)
  let status = ctorch_attach_pullback(
    name.characters, inputs.map(\.handle), Int32(inputs.count), outputs.map(\.handle),
    Int32(outputs.count), runPullback, Unmanaged.passRetained(context).toOpaque(),
    { Unmanaged<PullbackContext>.fromOpaque($0).release() }, &results)
  // Handles do not keep their tensors alive: these must outlive the call.
  withExtendedLifetime((inputs, outputs)) {}
  check(status, "differentiable(\(name))")
  return results.map { handle in
    guard let handle else { preconditionFailure("differentiable(\(name)): an output got lost") }
    return Tensor(owning: handle)
  }
}

/// Applies a function with one output whose derivative is written by hand.
///
/// - Parameters:
///   - name: Shown in LibTorch's messages about the graph.
///   - inputs: Tensors that the function differentiates with respect to.
///   - forward: Computes the output and returns it with the pullback of that one output.
/// - Returns: The output, as a function of the inputs.
public func differentiable(
  _ name: StaticString, _ inputs: [Tensor],
  forward: ([Tensor]) -> (output: Tensor, pullback: (_ gradient: Tensor) -> [Tensor?])
) -> Tensor {
  let outputs = differentiable(name, inputs) { inputs in
    let (output, pullback) = forward(inputs)
    // The inputs themselves are kept only where `forward` wants them.
    let count = inputs.count
    return (
      [output],
      { gradients in
        // An undefined gradient stands for zero: then nothing flows on.
        guard let gradient = gradients[0] else { return Array(repeating: nil, count: count) }
        return pullback(gradient)
      }
    )
  }
  return outputs[0]
}

private final class PullbackContext {
  let pullback: Pullback
  init(_ pullback: @escaping Pullback) { self.pullback = pullback }
}

private func runPullback(
  context: UnsafeMutableRawPointer, gradients: UnsafePointer<ctorch_tensor?>, gradientCount: Int32,
  results: UnsafeMutablePointer<ctorch_tensor?>, resultCount: Int32
) -> ctorch_status {
  let pullback = Unmanaged<PullbackContext>.fromOpaque(context).takeUnretainedValue().pullback
  let incoming = (0..<Int(gradientCount)).map { index in
    gradients[index].map { Tensor(owning: ctorch_retain($0)) }
  }
  let outgoing = withoutGradients { pullback(incoming) }
  guard outgoing.count == Int(resultCount) else {
    ctorch_set_error(
      "the pullback returned \(outgoing.count) gradients for \(resultCount) inputs")
    return 1
  }
  for (index, gradient) in outgoing.enumerated() {
    results[index] = gradient.map { ctorch_retain($0.handle) }
  }
  return 0
}
