import CKernels
public import Tensors

/// The gated perceptron of a block with its norm, as one differentiable function:
/// down(silu(gate(n)) * up(n)) with n the normalised x, and perhaps x added to it.
///
/// Keeps x, one number a row, the outputs of gate and up, and the narrow products; n and the product
/// of gate and up are computed again in the backward pass. The outputs of gate and up are half of what a
/// block keeps: where gradients are rounded on their way back they are kept in bfloat16, and those of
/// other int8 layers are computed again, the same to the last bit.
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
///   - addsInput: Whether x is added; down's outputs are then as many as its numbers.
/// - Returns: The output; nil where the types or places of something do not allow it.
/// - Note: Source: Shazeer 2020, arXiv 2002.05202.
public func fusedGatedMLP(
  _ x: Tensor, norm: any Normalization, gate: ExplicitProjection, up: ExplicitProjection,
  down: ExplicitProjection, addsInput: Bool = false
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
    let kept = KeptHalves(of: first)
    var halves: [Tensor] = []
    var narrow: LinearGroup.Narrow?
    let (outputs, narrowDown): ([Tensor], LinearGroup.Narrow?)
    if kept == .whole {
      (halves, narrow) = first(normalized)
      (outputs, narrowDown) = second(gatedProduct(halves[0], halves[1]))
    } else {
      (outputs, narrowDown) = first.withScratch(rows.size(0)) { memory in
        let made = first(normalized, into: memory)
        narrow = made.narrow
        let (gate, up) = (made.outputs[0], made.outputs[1])
        guard kept == .rounded else { return second(gatedProduct(gate, up, into: gate)) }
        halves = (0..<2).map { _ in Tensor.empty(gate.shape, dtype: .bfloat16) }
        return second(gatedProduct(gate, up, rounding: halves))
      }
    }
    let shape = inputs[0].shape
    let (gateAndUp, narrowFirst) = (halves, narrow)
    if addsInput { outputs[0].addInPlace(rows) }
    // Gradients from those of the output and what gate and up gave; gate's is written to a memory.
    func gradients(
      _ gradient: Tensor, _ gate: Tensor, _ up: Tensor, into memory: Tensor,
      _ normalized: Tensor? = nil
    ) -> [Tensor?] {
      let gradient = gradient.rows().contiguous()
      let (inner, trainedDown) = second.gradients(
        [gradient], narrow: narrowDown, needsInput: needsInner
      ) { gatedRows(gate, up) }
      guard let inner else {
        return [nil] + Array(repeating: nil, count: count) + trainedDown
      }
      // Up's goes where that of the product is.
      gatedGradient(gate, up, inner, intoGate: memory)
      let (input, trained) = first.gradients(
        [memory, inner], narrow: narrowFirst, needsInput: needsInput
      ) { normalized.map { RowSource($0) } ?? norm.again(rows, scale: scale) }
      return [
        input.map {
          norm.pulledBack($0, rows: rows, scale: scale, adding: addsInput ? gradient : nil)
            .reshaped(shape)
        }
      ] + trained + trainedDown
    }
    return (
      outputs[0].reshaped(shape.dropLast() + [outputs[0].size(1)]),
      { gradient in
        guard kept != .whole else {
          return gradients(
            gradient, gateAndUp[0], gateAndUp[1], into: gateAndUp[0].emptyLike())
        }
        return first.withScratch(rows.size(0)) { memory in
          guard kept == .rounded else {
            let normalized = norm.again(rows, scale: scale).tensor
            let halves = first.outputs(normalized, narrow: narrowFirst, into: memory)
            return gradients(gradient, halves[0], halves[1], into: halves[0], normalized)
          }
          return gradients(gradient, gateAndUp[0], gateAndUp[1], into: memory[0])
        }
      }
    )
  }
}

/// How the outputs of gate and up are there in the backward pass.
private enum KeptHalves {
  /// They were kept.
  case whole
  /// They were kept in bfloat16.
  case rounded
  /// They are computed again.
  case none

  init(of group: LinearGroup) {
    guard Set(group.outputSizes).count == 1 else {
      self = .whole
      return
    }
    self = group.roundsGradients ? .rounded : group.isQuick ? .none : .whole
  }
}

extension LinearGroup {
  /// Runs a body with memory for the outputs of two layers of one size.
  fileprivate func withScratch<Result>(
    _ rows: Int, _ body: (_ memory: [Tensor]) -> Result
  ) -> Result {
    ScratchRows.withPair(rows: rows, columns: outputSizes[0], body)
  }
}

/// silu(gate) * up of contiguous tensors on the processor, float32 or bfloat16, computed where it is read.
private func gatedRows(_ gate: Tensor, _ up: Tensor) -> RowSource {
  let (size, isRounded) = (gate.size(1), gate.dtype == .bfloat16)
  return RowSource(count: gate.size(0), columns: size, [gate, up], name: "swiglu") {
    let (first, count) = ($1 * size, Int64(($2 - $1) * size))
    if isRounded {
      graft_swiglu_of_rounded(
        $0.elements(0, UInt16.self) + first, $0.elements(1, UInt16.self) + first, 0, count, $3)
    } else {
      graft_swiglu(
        $0.elements(0, Float.self) + first, $0.elements(1, Float.self) + first, 0, count, $3)
    }
  }
}

/// The derivatives of silu(gate) * up: gate's into a memory, up's over that of the product.
private func gatedGradient(
  _ gate: Tensor, _ up: Tensor, _ gradient: Tensor, intoGate memory: Tensor
) {
  let isRounded = gate.dtype == .bfloat16
  forEachBlockRange(
    gate.count, blockSize: 1, [gate, up, gradient, memory], name: "swiglu_backward"
  ) {
    let (gradient, memory) = ($0.elements(2, Float.self), $0.elements(3, Float.self))
    if isRounded {
      graft_swiglu_backward_of_rounded(
        $0.elements(0, UInt16.self), $0.elements(1, UInt16.self), gradient, $1, $2, memory,
        gradient)
    } else {
      graft_swiglu_backward(
        $0.elements(0, Float.self), $0.elements(1, Float.self), gradient, $1, $2, memory, gradient)
    }
  }
}

/// silu(gate) * up of contiguous float32 tensors on the processor, in `memory` or a new tensor.
private func gatedProduct(_ gate: Tensor, _ up: Tensor, into memory: Tensor? = nil) -> Tensor {
  let result = memory ?? gate.emptyLike()
  forEachBlockRange(gate.count, blockSize: 1, [gate, up, result], name: "swiglu") {
    graft_swiglu(
      $0.elements(0, Float.self), $0.elements(1, Float.self), $1, $2, $0.elements(2, Float.self))
  }
  return result
}

/// The same in gate's memory, with gate and up rounded into two tensors in bfloat16.
private func gatedProduct(_ gate: Tensor, _ up: Tensor, rounding halves: [Tensor]) -> Tensor {
  forEachBlockRange(gate.count, blockSize: 1, [gate, up] + halves, name: "swiglu_rounding") {
    graft_swiglu_rounding(
      $0.elements(0, Float.self), $0.elements(1, Float.self), $1, $2, $0.elements(0, Float.self),
      $0.elements(2, UInt16.self), $0.elements(3, UInt16.self))
  }
  return gate
}
