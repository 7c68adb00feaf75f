import CKernels
import Layers
import Tensors

/// One block of a decoder for one new position of each row.
struct BlockStep {
  private let attention: AttentionStep
  private let mlp: MLPStep
  private let attentionNorm: StepNorm?
  private let attentionOutputNorm: StepNorm?
  private let mlpNorm: StepNorm?
  private let mlpOutputNorm: StepNorm?
  private let isParallel: Bool
  private let scale: Float

  init?(_ layer: DecoderLayer) {
    guard let attention = AttentionStep(layer.attention),
      let mlp = MLPStep(layer.mlp, layer.configuration)
    else { return nil }
    self.attention = attention
    self.mlp = mlp
    let norms = layer.norms
    attentionNorm = norms.attention.map(StepNorm.init)
    attentionOutputNorm = norms.attentionOutput.map(StepNorm.init)
    mlpNorm = norms.mlp.map(StepNorm.init)
    mlpOutputNorm = norms.mlpOutput.map(StepNorm.init)
    isParallel = layer.configuration.isParallel
    // A block whose two branches read the same takes no factor.
    scale = isParallel ? 1 : Float(layer.configuration.residualScale)
  }

  /// Takes the residual stream through the block.
  func callAsFunction(_ b: StepBuffers, _ position: StepPosition, layer: Int) {
    let read = normed(b.stream, attentionNorm, into: b.read)
    if isParallel {
      // Both read before either is added.
      attention(read, b, position, layer: layer, into: b.branch)
      mlp(read, b, into: b.normedBranch)
      add(b.branch, to: b.stream)
      add(b.normedBranch, to: b.stream)
      return
    }
    attention(read, b, position, layer: layer, into: b.branch)
    add(normed(b.branch, attentionOutputNorm, into: b.normedBranch), to: b.stream)
    mlp(normed(b.stream, mlpNorm, into: b.read), b, into: b.branch)
    add(normed(b.branch, mlpOutputNorm, into: b.normedBranch), to: b.stream)
  }

  private func normed(_ x: Tensor, _ norm: StepNorm?, into result: Tensor) -> Tensor {
    guard let norm else { return x }
    norm(x, into: result)
    return result
  }

  private func add(_ branch: Tensor, to stream: Tensor) {
    graft_add_scaled(branch.elements(), scale, 0, Int64(stream.count), stream.elements())
    withExtendedLifetime((branch, stream)) {}
  }
}

/// The MLP of a block for few rows.
struct MLPStep {
  private let inputs: FewRowsGroup
  private let down: FewRowsGroup
  private let activation: ActivationFunction
  private let kind: DecoderMLP.Inputs

  init?(_ mlp: DecoderMLP, _ configuration: DecoderConfiguration) {
    let layers: [Linear] =
      switch mlp.inputs {
      case .gated(let gate, let up): [gate, up]
      case .fused(let both): [both]
      case .plain(let up): [up]
      }
    guard let inputs = FewRowsGroup(layers), let down = FewRowsGroup([mlp.down]),
      inputs.outputSizes.reduce(0, +)
        == configuration.intermediateSize * (mlp.inputs.isGated ? 2 : 1),
      down.outputSizes == [configuration.hiddenSize]
    else { return nil }
    self.inputs = inputs
    self.down = down
    activation = mlp.activation
    kind = mlp.inputs
  }

  func callAsFunction(_ x: Tensor, _ b: StepBuffers, into result: Tensor) {
    let rows = FewRows(x.elements(), count: b.rows, size: x.count / b.rows)
    let width = b.gate.size(1)
    switch kind {
    case .gated: inputs(rows, into: [b.gate.elements(), b.up.elements()])
    case .fused:
      inputs(rows, into: [b.joined.elements()])
      b.split(widths: [width, width], into: [b.gate, b.up])
    case .plain: inputs(rows, into: [b.gate.elements()])
    }
    if case .plain = kind {
      b.gate.copyInPlace(from: activation(b.gate))
    } else if activation == .silu || activation == .swish {
      graft_swiglu(
        b.gate.elements(), b.up.elements(), 0, Int64(b.gate.count), b.gate.elements())
    } else {
      b.gate.copyInPlace(from: activation(b.gate)).multiplyInPlace(b.up)
    }
    down(
      FewRows(b.gate.elements(), count: b.rows, size: width), into: [result.elements()])
    withExtendedLifetime((x, result)) {}
  }
}

extension DecoderMLP.Inputs {
  fileprivate var isGated: Bool {
    if case .plain = self { false } else { true }
  }
}

extension StepBuffers {
  /// Copies columns of what a joined matrix gave, one part beside the other.
  func split(widths: [Int], into parts: [Tensor]) {
    let total = widths.reduce(0, +)
    let from = joined.elements(Float.self)
    var first = 0
    for (width, part) in zip(widths, parts) {
      let to = part.elements(Float.self)
      for row in 0..<rows {
        (to + row * width).update(from: from + row * total + first, count: width)
      }
      first += width
    }
  }
}
