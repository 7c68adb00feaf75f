import Layers
import Tensors

/// down(silu(gate(x)) * up(x)).
final class GatedMLP: Module {
  let gate: Linear
  let up: Linear
  let down: Linear

  init(gate: Linear, up: Linear, down: Linear) {
    self.gate = gate
    self.up = up
    self.down = down
  }

  var children: [(name: String, module: any Module)] {
    [("gate_proj", gate), ("up_proj", up), ("down_proj", down)]
  }

  func callAsFunction(_ x: Tensor) -> Tensor { down(swiGLU(gate: gate(x), up: up(x))) }
}

/// x + attention(norm(x)), then x + mlp(norm(x)).
final class DecoderLayer: Module {
  let attention: DecoderAttention
  let mlp: GatedMLP
  let attentionNorm: RMSNorm
  let mlpNorm: RMSNorm

  init(
    attention: DecoderAttention, mlp: GatedMLP, attentionNorm: RMSNorm, mlpNorm: RMSNorm
  ) {
    self.attention = attention
    self.mlp = mlp
    self.attentionNorm = attentionNorm
    self.mlpNorm = mlpNorm
  }

  var children: [(name: String, module: any Module)] {
    [
      ("self_attn", attention), ("mlp", mlp), ("input_layernorm", attentionNorm),
      ("post_attention_layernorm", mlpNorm),
    ]
  }

  // `prefix`: keys and values before the row's own, [2, K, n, D].
  func callAsFunction(
    _ x: Tensor, _ context: DecoderContext, layer: Int, prefix: Tensor?
  ) -> Tensor {
    let attended = x + attention(attentionNorm(x), context, layer: layer, prefix: prefix)
    return attended + mlp(mlpNorm(attended))
  }
}

/// What every layer of one forward pass needs.
struct DecoderContext {
  let cosine: Tensor
  let sine: Tensor
  /// One mask for each distinct window.
  let masks: [Int?: AttentionMask]
  let windows: [Int?]
  let cache: KeyValueCache?

  func mask(layer: Int) -> AttentionMask {
    masks[windows[layer]] ?? AttentionMask(isCausal: true)
  }
}
