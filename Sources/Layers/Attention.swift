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
///   - dropped: Drops some of the weights; nil for none.
///   - fused: Whether own kernels compute it where the types allow it.
///   - productType: Type that own kernels compute their products in, bfloat16 or float32; sums, scores
///     and weights are float32.
/// - Returns: A new tensor.
public func attention(
  query: Tensor, key: Tensor, value: Tensor, mask: AttentionMask, scale: Double,
  softcap: Double? = nil, dropped: ((_ weights: Tensor) -> Tensor)? = nil, fused: Bool = false,
  productType: DType = .float32
) -> Tensor {
  if softcap == nil, dropped == nil {
    if fused,
      let mixed = fusedAttention(
        query: query, key: key, value: value, mask: mask, scale: scale, productType: productType)
    {
      return mixed
    }
    return Tensor.attention(
      query: query, key: key, value: value, mask: mask.scores ?? mask.visible,
      causal: mask.isCausal,
      scale: scale)
  }
  // No fused kernel caps scores, or drops weights by a generator.
  let (batch, heads, length, size) = (query.size(0), query.size(1), query.size(2), query.size(3))
  let (groups, keyLength) = (key.size(1), key.size(2))
  let grouped = query.reshaped([batch, groups, heads / groups, length, size])
  let products = grouped.matrixProduct(key.unsqueezed(2).transposed(-2, -1))  // [B, K, H/K, L, T]
  let scores = softcap.map { (products * (scale / $0)).tanh() * $0 } ?? products * scale
  var visible = mask.visible
  if mask.isCausal {
    let positions = Tensor.arange(0, keyLength, device: query.device)
    let own = positions.narrowed(0, keyLength - length..<keyLength)
    visible = positions.unsqueezed(0) .<= own.unsqueezed(1)
  }
  var weights = scores.to(.float32)
  if let added = mask.scores {
    weights =
      weights + added.to(.float32).reshaped([-1, groups, heads / groups, length, keyLength])
  }
  if let visible {
    let spread =
      visible.rank == 4 ? visible.unsqueezed(2) : visible.unsqueezed(0).unsqueezed(0).unsqueezed(0)
    weights = weights.filled(where: spread .== 0, -3.4e38)
  }
  var shares = weights.softmax().to(value.dtype)
  if let dropped {
    let flat = shares.reshaped([batch, heads, length, keyLength])
    shares = dropped(flat).reshaped(shares.shape)
  }
  let mixed = shares.matrixProduct(value.unsqueezed(2))
  return mixed.reshaped([batch, heads, length, size])
}
