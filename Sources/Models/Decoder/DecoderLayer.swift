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

extension DecoderLayer {
  /// A block over the same weights, whose linear layers can have adapters of their own.
  func sharingWeights() -> DecoderLayer {
    func copy(_ layer: Linear) -> Linear { Linear(layer.projection) }
    func copy(_ norm: RMSNorm) -> RMSNorm {
      RMSNorm(weight: norm.weight, epsilon: norm.epsilon)
    }
    return DecoderLayer(
      attention: DecoderAttention(
        query: copy(attention.query), key: copy(attention.key), value: copy(attention.value),
        output: copy(attention.output), queryNorm: attention.queryNorm.map(copy),
        keyNorm: attention.keyNorm.map(copy), headSize: attention.headSize),
      mlp: GatedMLP(gate: copy(mlp.gate), up: copy(mlp.up), down: copy(mlp.down)),
      attentionNorm: copy(attentionNorm), mlpNorm: copy(mlpNorm))
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
