import CKernels
public import Tensors

/// The gated perceptron of a block with its norm, as one differentiable function:
/// down(silu(gate(n)) * up(n)) with n the normalised x.
///
/// Keeps x, one number a row, the outputs of gate and up, and the narrow products; n and the product
/// of gate and up are computed again in the backward pass. Of int8 layers the outputs of gate and up are
/// computed again too: they are half of what a block keeps, and the same to the last bit.
///
/// ## Shapes
/// - x: `[batch, length, size]`, result: `[batch, length, outputSize of down]`.
///
/// - Parameters:
///   - x: Input of the norm.
///   - norm: A frozen ``RMSNorm``.
///   - gate: What goes through silu.
///   - up: What is multiplied with that.
///   - down: What reads the product.
/// - Returns: The output; nil where the types or places of something do not allow it.
/// - Note: Source: Shazeer 2020, arXiv 2002.05202.
public func fusedGatedMLP(
  _ x: Tensor, norm: any Normalization, gate: ExplicitProjection, up: ExplicitProjection,
  down: ExplicitProjection
) -> Tensor? {
  guard x.dtype == .float32, x.device.kind == .cpu,
    [gate, up, down].allSatisfy(\.isFusable), let norm = FusedNorm(norm)
  else { return nil }
  let first = LinearGroup([gate, up])
  let second = LinearGroup([down])
  let count = first.trained.count
  return differentiable("FusedGatedMLP", [x] + first.trained + second.trained) { inputs in
    let rows = inputs[0].rows().contiguous()
    let needsInput = inputs[0].requiresGradient
    let needsInner = needsInput || inputs[1..<1 + count].contains(where: \.requiresGradient)
    let (normalized, scale) = norm(rows)
    let (halves, narrow) = first(normalized)
    let (outputs, narrowDown) = second(gatedProduct(halves[0], halves[1]))
    let kept = first.isQuick ? nil : halves
    let shape = inputs[0].shape
    return (
      outputs[0].reshaped(shape.dropLast() + [outputs[0].size(1)]),
      { gradient in
        let again = kept == nil ? norm.again(rows, scale: scale) : nil
        let halves = kept ?? again.map { first.outputs($0, narrow: narrow) } ?? []
        let (gate, up) = (halves[0], halves[1])
        let (inner, trainedDown) = second.gradients(
          [gradient.rows().contiguous()], narrow: narrowDown, needsInput: needsInner
        ) { gatedProduct(gate, up) }
        guard let inner else {
          return [nil] + Array(repeating: nil, count: count) + trainedDown
        }
        let gateGradient = gate.emptyLike()
        forEachBlockRange(
          gate.count, blockSize: 1, [gate, up, inner, gateGradient], name: "swiglu_backward"
        ) {
          graft_swiglu_backward(
            $0.elements(0, Float.self), $0.elements(1, Float.self), $0.elements(2, Float.self),
            $1, $2, $0.elements(3, Float.self), $0.elements(2, Float.self))
        }
        let (input, trained) = first.gradients(
          [gateGradient, inner], narrow: narrow, needsInput: needsInput
        ) { again ?? norm.again(rows, scale: scale) }
        return [
          input.map { norm.pulledBack($0, rows: rows, scale: scale).reshaped(shape) }
        ] + trained + trainedDown
      }
    )
  }
}

/// silu(gate) * up of contiguous float32 tensors on the processor.
private func gatedProduct(_ gate: Tensor, _ up: Tensor) -> Tensor {
  let result = gate.emptyLike()
  forEachBlockRange(gate.count, blockSize: 1, [gate, up, result], name: "swiglu") {
    graft_swiglu(
      $0.elements(0, Float.self), $0.elements(1, Float.self), $1, $2, $0.elements(2, Float.self))
  }
  return result
}
