public import Tensors

/// Softmax attention behind a mask, with scores that may be capped.
///
/// Scores are scale q k^T, then c tanh(score / c) where there is a cap c (Gemma 2), then masked.
///
/// ## Shapes
/// - query: `[batch, heads, length, headSize]`; key and value: `[batch, keyValueHeads, keyLength,
///   headSize]`, keyValueHeads a divisor of heads; result: like query.
///
/// - Parameters:
///   - query: q.
///   - key: k.
///   - value: v.
///   - mask: What may be seen.
///   - scale: Factor of the scores.
///   - softcap: Their cap c; nil for none.
/// - Returns: A new tensor.
public func attention(
  query: Tensor, key: Tensor, value: Tensor, mask: AttentionMask, scale: Double,
  softcap: Double? = nil
) -> Tensor {
  guard let softcap else {
    return Tensor.attention(
      query: query, key: key, value: value, mask: mask.scores ?? mask.visible,
      causal: mask.isCausal,
      scale: scale)
  }
  precondition(mask.scores == nil, "attention: capped scores with a bias")
  // No fused kernel caps scores.
  let (batch, heads, length, size) = (query.size(0), query.size(1), query.size(2), query.size(3))
  let (groups, keyLength) = (key.size(1), key.size(2))
  let grouped = query.reshaped([batch, groups, heads / groups, length, size])
  let scores =
    (grouped.matrixProduct(key.unsqueezed(2).transposed(-2, -1)) * (scale / softcap)).tanh()
    * softcap  // [B, K, H/K, L, T]
  var visible = mask.visible
  if mask.isCausal {
    let positions = Tensor.arange(0, keyLength, device: query.device)
    visible = positions.unsqueezed(0) .<= positions.unsqueezed(1)
  }
  var weights = scores.to(.float32)
  if let visible {
    let spread =
      visible.rank == 4 ? visible.unsqueezed(2) : visible.unsqueezed(0).unsqueezed(0).unsqueezed(0)
    weights = weights.filled(where: spread .== 0, -3.4e38)
  }
  let mixed = weights.softmax().to(value.dtype).matrixProduct(value.unsqueezed(2))
  return mixed.reshaped([batch, heads, length, size])
}
