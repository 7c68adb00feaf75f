import Layers
import Tensors

/// Grouped-query attention with rotary positions.
final class DecoderAttention: Module {
  // B batch, L length, H query heads, K key/value heads, D head size.
  let query: Linear
  let key: Linear
  let value: Linear
  let output: Linear
  let queryNorm: RMSNorm?
  let keyNorm: RMSNorm?
  let headSize: Int

  init(
    query: Linear, key: Linear, value: Linear, output: Linear, queryNorm: RMSNorm?,
    keyNorm: RMSNorm?, headSize: Int
  ) {
    self.query = query
    self.key = key
    self.value = value
    self.output = output
    self.queryNorm = queryNorm
    self.keyNorm = keyNorm
    self.headSize = headSize
  }

  var children: [(name: String, module: any Module)] {
    var result: [(name: String, module: any Module)] = [
      ("q_proj", query), ("k_proj", key), ("v_proj", value), ("o_proj", output),
    ]
    if let queryNorm { result.append(("q_norm", queryNorm)) }
    if let keyNorm { result.append(("k_norm", keyNorm)) }
    return result
  }

  func callAsFunction(_ x: Tensor, _ context: DecoderContext, layer: Int) -> Tensor {
    let (batch, length) = (x.size(0), x.size(1))
    func heads(_ projected: Tensor, _ norm: RMSNorm?) -> Tensor {
      let split = projected.reshaped([batch, length, -1, headSize])  // [B, L, H, D]
      return (norm.map { $0(split) } ?? split).transposed(1, 2)  // [B, H, L, D]
    }
    let (cosine, sine) = (context.cosine, context.sine)
    let q = rotated(heads(query(x), queryNorm), cosine: cosine, sine: sine)
    var k = rotated(heads(key(x), keyNorm), cosine: cosine, sine: sine)
    var v = heads(value(x), nil)
    if let cache = context.cache { (k, v) = cache.append(layer: layer, key: k, value: v) }
    let mask = context.mask(layer: layer)
    let mixed = Tensor.attention(
      query: q, key: k, value: v, mask: mask.visible, causal: mask.isCausal)
    return output(mixed.transposed(1, 2).reshaped([batch, length, -1]))
  }
}
