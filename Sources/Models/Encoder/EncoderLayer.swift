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

  /// What a block needs besides its input.
  struct Context {
    let mask: AttentionMask
    /// Cosines and sines, where positions are rotary.
    let rotation: (cosine: Tensor, sine: Tensor)?
    let dropout: ModelDropout
    /// Told of keys and values, `[B, H, L, D]` each; nil for nobody.
    var observe: ((_ keys: Tensor, _ values: Tensor) -> Void)?
  }

  // x: [B, L, hiddenSize]; `prefix`: keys and values before the row's own, [2, H, n, D].
  func callAsFunction(_ x: Tensor, _ context: Context, prefix: Tensor?) -> Tensor {
    if configuration.normsFirst {
      let attended = x + attended(attentionNorm.map { $0(x) } ?? x, context, prefix)
      return attended + worked(mlpNorm(attended), context.dropout)
    }
    let sum = x + attended(x, context, prefix)
    let middle = attentionNorm.map { $0(sum) } ?? sum
    return mlpNorm(middle + worked(middle, context.dropout))
  }

  private func attended(_ x: Tensor, _ context: Context, _ prefix: Tensor?) -> Tensor {
    withScope(.layer, "attention") { gathered(x, context, prefix) }
  }

  private func gathered(_ x: Tensor, _ context: Context, _ prefix: Tensor?) -> Tensor {
    let (batch, length) = (x.size(0), x.size(1))
    func heads(_ projected: Tensor) -> Tensor {
      projected.reshaped([batch, length, -1, configuration.headSize]).transposed(1, 2)
    }
    let width = configuration.hiddenSize
    var q: Tensor
    var k: Tensor
    var v: Tensor
    switch projections {
    case .separate(let query, let key, let value):
      (q, k, v) = (heads(query(x)), heads(key(x)), heads(value(x)))
    case .fused(let all):
      let joined = all(x)
      q = heads(joined.narrowed(-1, 0..<width))
      k = heads(joined.narrowed(-1, width..<2 * width))
      v = heads(joined.narrowed(-1, 2 * width..<3 * width))
    }
    if let (cosine, sine) = context.rotation {
      q = rotated(q, cosine: cosine, sine: sine)
      k = rotated(k, cosine: cosine, sine: sine)
    }
    context.observe?(k, v)
    if let prefix {
      func joined(_ index: Int, _ own: Tensor) -> Tensor {
        let before = prefix.selected(0, index).unsqueezed(0).expanded([batch, -1, -1, -1])
        return Tensor.concatenated([before, own], dimension: 2)
      }
      (k, v) = (joined(0, k), joined(1, v))
    }
    let (dropout, rates) = (context.dropout, configuration.dropout)
    let mixed = attention(
      query: q, key: k, value: v, mask: context.mask,
      scale: 1 / Double(configuration.headSize).squareRoot(),
      dropped: dropout.acts(rates.attention) ? { dropout($0, rates.attention) } : nil)
    return dropout(
      output(mixed.transposed(1, 2).reshaped([batch, length, -1])), rates.attentionOutput)
  }

  private func worked(_ x: Tensor, _ dropout: ModelDropout) -> Tensor {
    withScope(.layer, "mlp") { computed(x, dropout) }
  }

  private func computed(_ x: Tensor, _ dropout: ModelDropout) -> Tensor {
    let rates = configuration.dropout
    var inner = up(x)
    if configuration.isGated {
      let half = inner.size(-1) / 2
      inner =
        configuration.activation(inner.narrowed(-1, 0..<half))
        * inner.narrowed(-1, half..<2 * half)
    } else {
      inner = configuration.activation(inner)
    }
    return dropout(down(dropout(inner, rates.mlpInner)), rates.mlpOutput)
  }
}
