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
  var extensions: [any AttentionExtension] = []

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
    return result + extensions.map { ($0.name, $0) }
  }

  // `prefix`: keys and values before the row's own, [2, K, n, D].
  func callAsFunction(
    _ x: Tensor, _ context: DecoderContext, layer: Int, prefix: Tensor?
  ) -> Tensor {
    let (batch, length) = (x.size(0), x.size(1))
    func heads(_ projected: Tensor, _ norm: RMSNorm?) -> Tensor {
      let split = projected.reshaped([batch, length, -1, headSize])  // [B, L, H, D]
      return (norm.map { $0(split) } ?? split).transposed(1, 2)  // [B, H, L, D]
    }
    let (cosine, sine) = (context.cosine, context.sine)
    let q = rotated(heads(query(x), queryNorm), cosine: cosine, sine: sine)
    var k = rotated(heads(key(x), keyNorm), cosine: cosine, sine: sine)
    var v = heads(value(x), nil)
    if let prefix {
      func joined(_ index: Int, _ own: Tensor) -> Tensor {
        let before = prefix.selected(0, index).unsqueezed(0).expanded([batch, -1, -1, -1])
        return Tensor.concatenated([before, own], dimension: 2)
      }
      (k, v) = (joined(0, k), joined(1, v))
    }
    if let cache = context.cache { (k, v) = cache.append(layer: layer, key: k, value: v) }
    let mask = context.mask(layer: layer)
    var mixed = Tensor.attention(
      query: q, key: k, value: v, mask: mask.visible, causal: mask.isCausal)
    for addition in extensions { mixed = mixed + addition(query: q, key: key, value: value) }
    return output(mixed.transposed(1, 2).reshaped([batch, length, -1]))
  }
}

extension DecoderAttention: ExtensibleAttention {
  var inputSize: Int { query.inputSize }
  var dtype: DType { query.projection.dtype }
  var device: Device { query.projection.device }
}
