import Layers
import Tensors

/// The projections of an attention block that read its input.
enum AttentionProjections {
  case separate(query: Linear, key: Linear, value: Linear)
  /// One matrix with the rows of query, key and value.
  case fused(Linear)

  var inputSize: Int { first.inputSize }

  /// The one that says what type and device the block has.
  var first: Linear {
    switch self {
    case .separate(let query, _, _): query
    case .fused(let all): all
    }
  }
}

/// Grouped-query attention.
final class DecoderAttention: Module {
  // B batch, L length, H query heads, K key/value heads, D head size.
  let projections: AttentionProjections
  let output: Linear
  let queryNorm: (any Normalization)?
  let keyNorm: (any Normalization)?
  let configuration: DecoderConfiguration
  var extensions: [any AttentionExtension] = []

  init(
    _ projections: AttentionProjections, output: Linear, queryNorm: (any Normalization)?,
    keyNorm: (any Normalization)?, _ configuration: DecoderConfiguration
  ) {
    self.projections = projections
    self.output = output
    self.queryNorm = queryNorm
    self.keyNorm = keyNorm
    self.configuration = configuration
  }

  var children: [(name: String, module: any Module)] {
    let names = configuration.names
    var result: [(name: String, module: any Module)]
    switch projections {
    case .separate(let query, let key, let value):
      result = [(names.query, query), (names.key, key), (names.value, value)]
    case .fused(let all): result = [(names.fusedProjections ?? "", all)]
    }
    result.append((names.attentionOutput, output))
    if let queryNorm { result.append((names.queryNorm, queryNorm)) }
    if let keyNorm { result.append((names.keyNorm, keyNorm)) }
    return result + extensions.map { ($0.name, $0) }
  }

  // `prefix`: keys and values before the row's own, [2, K, n, D].
  func callAsFunction(
    _ x: Tensor, _ context: DecoderContext, layer: Int, prefix: Tensor?
  ) -> Tensor {
    mixed(projected(x), isRotated: false, context, layer: layer, prefix: prefix)
  }

  /// The same of what `norm` makes of x, and x itself where `addsInput`, with norm, projections and rotation
  /// computed together; nil where that cannot be.
  func fused(
    _ x: Tensor, norm: any Normalization, addsInput: Bool, _ context: DecoderContext, layer: Int,
    prefix: Tensor?
  ) -> Tensor? {
    guard context.usesFusedLayers, case .separate(let query, let key, let value) = projections
    else { return nil }
    let parts = [query, key, value].compactMap(\.projection.explicitForm)
    guard parts.count == 3 else { return nil }
    let rotation = context.rotation(layer: layer).flatMap { cosine, sine in
      queryNorm == nil && keyNorm == nil
        ? FusedRotation(
          cosine: cosine, sine: sine, headSize: configuration.headSize, layers: 0..<2) : nil
    }
    return fusedProjections(x, norm: norm, parts, rotation: rotation).map { outputs, x in
      mixed(
        (outputs[0], outputs[1], outputs[2]), isRotated: rotation != nil, context, layer: layer,
        prefix: prefix, addedTo: addsInput ? x : nil)
    }
  }

  /// What attention gives, from the projections' outputs; added to `residual` where there is one.
  private func mixed(
    _ projected: (query: Tensor, key: Tensor, value: Tensor), isRotated: Bool,
    _ context: DecoderContext, layer: Int, prefix: Tensor?, addedTo residual: Tensor? = nil
  ) -> Tensor {
    let (batch, length) = (projected.query.size(0), projected.query.size(1))
    let c = configuration
    func split(_ projected: Tensor, _ norm: (any Normalization)? = nil) -> Tensor {
      var projected = projected
      if let norm, c.queryKeyNorm == .whole { projected = norm(projected) }
      var heads = projected.reshaped([batch, length, -1, c.headSize])  // [B, L, H, D]
      if let norm, c.queryKeyNorm == .perHead { heads = norm(heads) }
      return heads.transposed(1, 2)  // [B, H, L, D]
    }
    var (q, k, v) = (
      split(projected.query, queryNorm), split(projected.key, keyNorm), split(projected.value)
    )
    if !isRotated, let (cosine, sine) = context.rotation(layer: layer) {
      q = rotated(q, cosine: cosine, sine: sine)
      k = rotated(k, cosine: cosine, sine: sine)
    }
    if let growth = context.queryGrowth { q = q * growth }
    if let prefix {
      func joined(_ index: Int, _ own: Tensor) -> Tensor {
        let before = prefix.selected(0, index).unsqueezed(0).expanded([batch, -1, -1, -1])
        return Tensor.concatenated([before, own], dimension: 2)
      }
      (k, v) = (joined(0, k), joined(1, v))
    }
    if let joined = context.joinedRows {
      (q, k, v) = (joined.spread(q), joined.spread(k), joined.spread(v))
    }
    if let cache = context.cache { (k, v) = cache.append(layer: layer, key: k, value: v) }
    let mask = context.mask(layer: layer)
    let (dropout, rate) = (context.dropout, c.dropout.attention)
    var mixed = attention(
      query: q, key: k, value: v, mask: mask, scale: context.configuration.attentionScales[layer],
      softcap: c.attentionSoftcap, dropped: dropout.acts(rate) ? { dropout($0, rate) } : nil,
      fused: context.usesFusedLayers, productType: context.attentionProductType)
    if case .separate(_, let key, let value) = projections {
      for addition in extensions { mixed = mixed + addition(query: q, key: key, value: value) }
    }
    var heads = mixed.transposed(1, 2).reshaped([mixed.size(0), mixed.size(2), -1])
    if let joined = context.joinedRows { heads = joined.joined(heads) }
    if context.usesFusedLayers, let form = output.projection.explicitForm,
      let sum = fusedOutput(heads, form, addedTo: residual)
    {
      return sum
    }
    let own = output(heads)
    return residual.map { $0 + own } ?? own
  }

  private func projected(_ x: Tensor) -> (query: Tensor, key: Tensor, value: Tensor) {
    switch projections {
    case .separate(let query, let key, let value): return (query(x), key(x), value(x))
    case .fused(let all):
      let joined = all(x)
      let width = configuration.headCount * configuration.headSize
      let keyWidth = configuration.keyValueHeadCount * configuration.headSize
      return (
        joined.narrowed(-1, 0..<width), joined.narrowed(-1, width..<width + keyWidth),
        joined.narrowed(-1, width + keyWidth..<width + 2 * keyWidth)
      )
    }
  }
}

extension DecoderAttention: ExtensibleAttention {
  var isExtensible: Bool {
    if case .separate = projections { true } else { false }
  }
  var headSize: Int { configuration.headSize }
  var inputSize: Int { projections.inputSize }
  var dtype: DType { projections.first.projection.dtype }
  var device: Device { projections.first.projection.device }
}
