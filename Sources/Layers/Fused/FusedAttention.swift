import CKernels
import Tensors

/// Softmax attention in float32 on the processor, without all scores of a row in memory.
///
/// Keeps its inputs, its output and one number for each query. Results are the same for any number of
/// threads.
///
/// ## Shapes
/// - query: `[batch, heads, length, size]`; key and value: `[batch, groups, keyLength, size]`, groups a
///   divisor of heads; result: like query.
///
/// - Parameters:
///   - query: q.
///   - key: k.
///   - value: v.
///   - mask: What may be seen; a query that sees nothing gets zeros.
///   - scale: Factor of the scores.
///   - productType: Type that the products are computed in, forward and backward, bfloat16 (where
///     ``BFloat16Rows/isSupported``) or float32; sums, scores and shares are float32.
/// - Returns: The mixed values; nil where types, places or sizes do not allow it.
/// - Note: Source: FlashAttention-2, arXiv 2307.08691.
func fusedAttention(
  query: Tensor, key: Tensor, value: Tensor, mask: AttentionMask, scale: Double,
  productType: DType = .float32
) -> Tensor? {
  guard let call = FusedAttention(query, key, value, mask, scale, productType) else { return nil }
  return differentiable("FusedAttention", [query, key, value]) { inputs in
    let inputs = inputs.map(FusedAttention.withAdjacentNumbers)
    let (output, logSums) = call.forward(inputs)
    return (output, { call.backward(inputs, output, logSums, gradient: $0) })
  }
}

struct FusedAttention {
  // B batch, H heads, K groups, L length, T key length, D size.
  let batch, heads, groups, length, keyLength, size: Int
  let visible: Tensor?
  let isCausal: Bool
  let scale: Double
  /// Whether products are of numbers that are rounded to bfloat16.
  let rounds: Bool

  /// Nil where the kernels cannot do it.
  init?(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, _ mask: AttentionMask, _ scale: Double,
    _ productType: DType
  ) {
    let all = [query, key, value]
    (batch, heads, length, size) = (query.size(0), query.size(1), query.size(2), query.size(3))
    (groups, keyLength) = (key.size(1), key.size(2))
    guard all.allSatisfy({ $0.dtype == .float32 && $0.device.kind == .cpu && $0.rank == 4 }),
      mask.scores == nil, size % 16 == 0, size <= 256, value.size(-1) == size, length > 0,
      keyLength > 0, heads % groups == 0, !mask.isCausal || length == keyLength
    else { return nil }
    if let visible = mask.visible {
      guard visible.rank == 4, visible.dtype == .bool, visible.size(1) == 1,
        visible.size(3) == keyLength, [1, length].contains(visible.size(2)),
        [1, batch].contains(visible.size(0))
      else { return nil }
      self.visible = visible.contiguous()
    } else {
      visible = nil
    }
    isCausal = mask.isCausal
    self.scale = scale
    rounds = productType == .bfloat16 && BFloat16Rows.isSupported
  }

  /// A copy where the numbers of a head do not lie side by side.
  static func withAdjacentNumbers(_ x: Tensor) -> Tensor {
    x.strides[3] == 1 ? x : x.contiguous()
  }

  func strides(_ x: Tensor) -> graft_attention_strides {
    let strides = x.strides
    return graft_attention_strides(
      batch: Int64(strides[0]), head: Int64(strides[1]), row: Int64(strides[2]))
  }

  /// Multiplications and additions of one product of all queries with the keys that they see.
  private var products: Int {
    2 * batch * heads * length * keyLength * size / (isCausal ? 2 : 1)
  }

  /// A whole number of the kernels' blocks of keys.
  var paddedLength: Int { (keyLength + 63) / 64 * 64 }

  /// A tensor `[B, H, L, D]` of which the numbers of a position lie side by side, as projections
  /// write and read them.
  private func empty() -> Tensor {
    Tensor.empty([batch, length, heads, size], dtype: .float32).transposed(1, 2)
  }

  private func kernelCall(
    _ inputs: [Tensor], _ output: Tensor, _ logSums: Tensor
  ) -> graft_attention {
    var call = graft_attention(
      query: inputs[0].firstElement(), key: inputs[1].firstElement(),
      value: inputs[2].firstElement(), key_columns: nil, value_columns: nil,
      output: output.firstElement(), log_sums: logSums.elements(),
      visible: nil, visible_batch: 0, visible_row: 0,
      output_gradient: nil, query_gradient: nil, key_gradient: nil, value_gradient: nil,
      query_strides: strides(inputs[0]), key_strides: strides(inputs[1]),
      value_strides: strides(inputs[2]), output_strides: strides(output),
      output_gradient_strides: strides(output), query_gradient_strides: strides(output),
      batch: Int64(batch), heads: Int64(heads), groups: Int64(groups), length: Int64(length),
      key_length: Int64(keyLength), padded: Int64(paddedLength), size: Int64(size),
      scale: Float(scale), causal: isCausal)
    if let visible {
      call.visible = UnsafePointer(visible.elements(UInt8.self))
      call.visible_row = visible.size(2) == 1 ? 0 : Int64(keyLength)
      call.visible_batch = visible.size(0) == 1 ? 0 : Int64(visible.size(2) * keyLength)
    }
    return call
  }

  func forward(_ inputs: [Tensor]) -> (output: Tensor, logSums: Tensor) {
    let output = empty()
    let logSums = Tensor.empty([batch, heads, length], dtype: .float32)
    var settings = kernelCall(inputs, output, logSums)
    let turned = turned(inputs, [.keyColumns, .valueRows], for: &settings)
    let call = AttentionCall(settings, turned.pairs)
    let units = batch * heads * ((length + call.chunk - 1) / call.chunk)
    withScope(.kernel, "attention_forward", operations: 2 * products) {
      Runtime.parallelFor(0..<units, grain: 1) { range in call.forward(range) }
    }
    withExtendedLifetime((inputs, turned, output, logSums, visible)) {}
    return (output, logSums)
  }

  func backward(
    _ inputs: [Tensor], _ output: Tensor, _ logSums: Tensor, gradient: Tensor
  ) -> [Tensor?] {
    let gradient = Self.withAdjacentNumbers(gradient)
    let ofQuery = empty()
    let ofKey = Tensor.empty([batch, heads, keyLength, size], dtype: .float32)
    let ofValue = ofKey.emptyLike()
    var settings = kernelCall(inputs, output, logSums)
    settings.output_gradient = UnsafePointer(gradient.firstElement(Float.self))
    settings.output_gradient_strides = strides(gradient)
    settings.query_gradient = ofQuery.firstElement()
    settings.key_gradient = ofKey.elements()
    settings.value_gradient = ofValue.elements()
    let turned = turned(inputs, [.keyColumns, .keyRows, .valueColumns], for: &settings)
    let call = AttentionCall(settings, turned.pairs)
    withScope(.kernel, "attention_backward", operations: 5 * products) {
      Runtime.parallelFor(0..<batch * heads, grain: 1) { range in call.backward(range) }
    }
    withExtendedLifetime((inputs, turned, output, logSums, gradient, visible)) {}
    return [ofQuery] + [ofKey, ofValue].map(summedOverHeads)
  }

  /// From `[B, H, T, D]` to `[B, K, T, D]`, each group's sum.
  private func summedOverHeads(_ x: Tensor) -> Tensor {
    heads == groups
      ? x : x.reshaped([batch, groups, heads / groups, keyLength, size]).sum([2])
  }
}
