import Layers
import Tensors

/// One block: attention to its own stack, in a decoder to the encoder's states, and an MLP.
final class EncoderDecoderLayer: Module {
  /// The part that works on each position alone: down(f(up(x))), or down(f(gate(x)) * up(x)).
  struct MLP {
    let gate: Linear?
    let up: Linear
    let down: Linear
  }

  /// Attention to the encoder, with its norm.
  struct Cross {
    let attention: EncoderDecoderAttention
    let norm: any Normalization
  }

  let selfAttention: EncoderDecoderAttention
  let selfNorm: any Normalization
  let cross: Cross?
  let mlp: MLP
  let mlpNorm: any Normalization
  let children: [(name: String, module: any Module)]
  private let configuration: EncoderDecoderConfiguration
  private let dropout: ModelDropout

  init(
    _ selfAttention: EncoderDecoderAttention, selfNorm: any Normalization, cross: Cross?, mlp: MLP,
    mlpNorm: any Normalization, dropout: ModelDropout, _ configuration: EncoderDecoderConfiguration
  ) {
    self.dropout = dropout
    self.selfAttention = selfAttention
    self.selfNorm = selfNorm
    self.cross = cross
    self.mlp = mlp
    self.mlpNorm = mlpNorm
    self.configuration = configuration
    let names = configuration.names
    let block = cross == nil ? names.encoderBlock : names.decoderBlock
    var parts: [(name: String, module: any Module)] = [
      (block.selfAttention, selfAttention), (block.selfNorm, selfNorm),
    ]
    if let cross {
      parts += [
        (block.crossAttention ?? "", cross.attention), (block.crossNorm ?? "", cross.norm),
      ]
    }
    if let gate = mlp.gate { parts.append((block.mlp + names.gate, gate)) }
    parts += [
      (block.mlp + (mlp.gate == nil ? names.up : names.gatedUp), mlp.up),
      (block.mlp + names.down, mlp.down), (block.mlpNorm, mlpNorm),
    ]
    children = ModuleGroup(parts).children
  }

  /// The block's keys and values for states of the encoder, `[batch, heads, keyLength, headSize]`.
  func crossKeysAndValues(_ states: Tensor) -> (key: Tensor, value: Tensor) {
    guard let cross else { preconditionFailure("crossKeysAndValues: a block of an encoder") }
    return withScope(.layer, "cross_attention") { cross.attention.keysAndValues(states) }
  }

  // x: [B, L, hiddenSize]; `remember`: puts new keys and values behind older ones and gives all.
  func callAsFunction(
    _ x: Tensor, _ mask: AttentionMask, gathered: (key: Tensor, value: Tensor)?,
    crossMask: AttentionMask,
    remember: ((_ key: Tensor, _ value: Tensor) -> (key: Tensor, value: Tensor))? = nil
  ) -> Tensor {
    let clamps = configuration.normsFirst || cross == nil
    var x = withScope(.layer, "self_attention") {
      added(x, selfNorm) { y in
        var own = selfAttention.keysAndValues(y)
        if let remember { own = remember(own.key, own.value) }
        return gathering(selfAttention, y, own, mask)
      }
    }
    if configuration.normsFirst { x = bounded(x) }
    if let cross, let gathered {
      x = withScope(.layer, "cross_attention") {
        added(x, cross.norm) { gathering(cross.attention, $0, gathered, crossMask) }
      }
      if configuration.normsFirst { x = bounded(x) }
    }
    x = withScope(.layer, "mlp") { added(x, mlpNorm, worked) }
    return clamps ? bounded(x) : x
  }

  /// The sum of x and what a part makes of it, with the norm before the part or behind the sum.
  private func added(
    _ x: Tensor, _ norm: any Normalization, _ part: (Tensor) -> Tensor
  ) -> Tensor {
    guard configuration.normsFirst else { return norm(x + part(x)) }
    // The sum may be wider than the weights where the last layer of an MLP is.
    return x + part(norm(x).to(selfAttention.query.projection.dtype))
  }

  /// What attention gives, with dropout of its weights and of the result.
  private func gathering(
    _ attention: EncoderDecoderAttention, _ x: Tensor, _ gathered: (key: Tensor, value: Tensor),
    _ mask: AttentionMask
  ) -> Tensor {
    let rates = configuration.dropout
    return dropout(attention(x, gathered, mask, dropout), rates.attentionOutput)
  }

  private func worked(_ x: Tensor) -> Tensor {
    let inner: Tensor
    if let gate = mlp.gate {
      switch configuration.activation {
      case .silu, .swish: inner = swiGLU(gate: gate(x), up: mlp.up(x))
      default: inner = configuration.activation(gate(x)) * mlp.up(x)
      }
    } else {
      inner = configuration.activation(mlp.up(x))
    }
    let rates = configuration.dropout
    let dropped = dropout(inner, rates.mlpInner)
    let read = configuration.keepsDownWide ? dropped.to(mlp.down.projection.dtype) : dropped
    return dropout(mlp.down(read), rates.mlpOutput)
  }

  /// In float16 what grew beyond its range is brought back a little below, as transformers does.
  private func bounded(_ x: Tensor) -> Tensor {
    // Where there are no numbers LibTorch has no such sums.
    guard x.dtype == .float16, x.device.kind != .meta else { return x }
    func number(_ value: Double) -> Tensor {
      .full([], value, dtype: .float16, device: x.device)
    }
    let largest = -DType.float16.lowestFinite
    let limit = Tensor.choosing(
      x.absolute().max() .> largest, number(largest - 1000), number(largest))
    return x.minimum(limit).maximum(-limit)
  }
}
