import Layers
import Tensors

/// One block of an encoder: attention and MLP with their sums normalised, or their inputs.
final class EncoderLayer: Module {
  let projections: AttentionProjections
  let output: Linear
  /// Missing in the first block of some families.
  let attentionNorm: LayerNorm?
  let up: Linear
  let down: Linear
  let mlpNorm: LayerNorm
  let configuration: EncoderConfiguration
  let children: [(name: String, module: any Module)]

  init(
    _ projections: AttentionProjections, output: Linear, attentionNorm: LayerNorm?, up: Linear,
    down: Linear, mlpNorm: LayerNorm, _ configuration: EncoderConfiguration
  ) {
    self.projections = projections
    self.output = output
    self.attentionNorm = attentionNorm
    self.up = up
    self.down = down
    self.mlpNorm = mlpNorm
    self.configuration = configuration
    let names = configuration.names
    var parts: [(name: String, module: any Module)]
    switch projections {
    case .separate(let query, let key, let value):
      parts = [(names.query, query), (names.key, key), (names.value, value)]
    case .fused(let all): parts = [(names.fusedProjections ?? "", all)]
    }
    parts.append((names.attentionOutput, output))
    if let attentionNorm { parts.append((names.attentionNorm, attentionNorm)) }
    parts += [(names.up, up), (names.down, down), (names.mlpNorm, mlpNorm)]
    children = ModuleGroup(parts).children
  }

  // x: [B, L, hiddenSize]; `rotation`: cosines and sines, where positions are rotary.
  func callAsFunction(
    _ x: Tensor, _ mask: AttentionMask, rotation: (cosine: Tensor, sine: Tensor)?
  ) -> Tensor {
    if configuration.normsFirst {
      let attended = x + attended(attentionNorm.map { $0(x) } ?? x, mask, rotation)
      return attended + worked(mlpNorm(attended))
    }
    let sum = x + attended(x, mask, rotation)
    let middle = attentionNorm.map { $0(sum) } ?? sum
    return mlpNorm(middle + worked(middle))
  }

  private func attended(
    _ x: Tensor, _ mask: AttentionMask, _ rotation: (cosine: Tensor, sine: Tensor)?
  ) -> Tensor {
    let (batch, length) = (x.size(0), x.size(1))
    func heads(_ projected: Tensor) -> Tensor {
      projected.reshaped([batch, length, -1, configuration.headSize]).transposed(1, 2)
    }
    let width = configuration.hiddenSize
    var q: Tensor
    var k: Tensor
    let v: Tensor
    switch projections {
    case .separate(let query, let key, let value):
      (q, k, v) = (heads(query(x)), heads(key(x)), heads(value(x)))
    case .fused(let all):
      let joined = all(x)
      q = heads(joined.narrowed(-1, 0..<width))
      k = heads(joined.narrowed(-1, width..<2 * width))
      v = heads(joined.narrowed(-1, 2 * width..<3 * width))
    }
    if let (cosine, sine) = rotation {
      q = rotated(q, cosine: cosine, sine: sine)
      k = rotated(k, cosine: cosine, sine: sine)
    }
    let mixed = attention(
      query: q, key: k, value: v, mask: mask,
      scale: 1 / Double(configuration.headSize).squareRoot())
    return output(mixed.transposed(1, 2).reshaped([batch, length, -1]))
  }

  private func worked(_ x: Tensor) -> Tensor {
    let inner = up(x)
    guard configuration.isGated else { return down(configuration.activation(inner)) }
    let half = inner.size(-1) / 2
    return down(
      configuration.activation(inner.narrowed(-1, 0..<half))
        * inner.narrowed(-1, half..<2 * half))
  }
}
