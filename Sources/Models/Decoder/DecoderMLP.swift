import Layers
import Tensors

/// The part of a block that works on each position alone.
final class DecoderMLP: Module {
  /// What the input goes through.
  enum Inputs {
    /// down(f(gate(x)) * up(x))
    case gated(gate: Linear, up: Linear)
    /// The same with one matrix that has the rows of both.
    case fused(Linear)
    /// down(f(up(x)))
    case plain(Linear)
  }

  let inputs: Inputs
  let down: Linear
  let activation: ActivationFunction
  let names: DecoderNames

  init(
    _ inputs: Inputs, down: Linear, activation: ActivationFunction, names: DecoderNames
  ) {
    self.inputs = inputs
    self.down = down
    self.activation = activation
    self.names = names
  }

  var children: [(name: String, module: any Module)] {
    let first: [(name: String, module: any Module)]
    switch inputs {
    case .gated(let gate, let up): first = [(names.gate ?? "", gate), (names.up, up)]
    case .fused(let both): first = [(names.fusedGate ?? "", both)]
    case .plain(let up): first = [(names.up, up)]
    }
    return first + [(names.down, down)]
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    switch inputs {
    case .gated(let gate, let up): return down(product(gate(x), up(x)))
    case .fused(let both):
      let joined = both(x)
      let half = joined.size(-1) / 2
      return down(
        product(joined.narrowed(-1, 0..<half), joined.narrowed(-1, half..<2 * half)))
    case .plain(let up): return down(activation(up(x)))
    }
  }

  /// The same of what `norm` makes of x, and x itself where `addsInput`, computed together; nil where that
  /// cannot be.
  func fused(_ x: Tensor, norm: any Normalization, addsInput: Bool) -> Tensor? {
    guard activation == .silu || activation == .swish,
      case .gated(let gate, let up) = inputs, let gate = gate.projection.explicitForm,
      let up = up.projection.explicitForm, let down = down.projection.explicitForm
    else { return nil }
    return fusedGatedMLP(x, norm: norm, gate: gate, up: up, down: down, addsInput: addsInput)
  }

  private func product(_ gate: Tensor, _ up: Tensor) -> Tensor {
    switch activation {
    case .silu, .swish: swiGLU(gate: gate, up: up)
    default: activation(gate) * up
    }
  }
}
