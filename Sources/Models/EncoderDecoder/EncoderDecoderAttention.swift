import Layers
import Tensors

/// Attention of a block to its own stack or to the other one.
final class EncoderDecoderAttention: Module {
  // B batch, L queries, K keys, H heads, D head size.
  let query: Linear
  let key: Linear
  let value: Linear
  let output: Linear
  /// Numbers for distances, `[classes, heads]`, which serve all blocks; in the first one only.
  let relativeBias: Embedding?
  let headSize: Int
  private let scale: Double
  private let names: EncoderDecoderNames
  /// Share of weights that is dropped in training.
  private let dropoutRate: Double

  init(
    query: Linear, key: Linear, value: Linear, output: Linear, relativeBias: Embedding?,
    headSize: Int, _ configuration: EncoderDecoderConfiguration
  ) {
    (self.query, self.key, self.value, self.output) = (query, key, value, output)
    self.relativeBias = relativeBias
    self.headSize = headSize
    scale = configuration.scalesScores ? 1 / Double(headSize).squareRoot() : 1
    names = configuration.names
    dropoutRate = configuration.dropout.attention
  }

  var children: [(name: String, module: any Module)] {
    let parts: [(name: String, module: any Module)] = [
      (names.query, query), (names.key, key), (names.value, value), (names.output, output),
    ]
    guard let relativeBias, let name = names.relativeBias else { return parts }
    return parts + [(name, relativeBias)]
  }

  /// Keys and values of states `[B, K, hiddenSize]`.
  func keysAndValues(_ states: Tensor) -> (key: Tensor, value: Tensor) {
    (heads(key(states)), heads(value(states)))
  }

  /// What x `[B, L, hiddenSize]` gathers from keys and values `[B, H, K, D]`.
  func callAsFunction(
    _ x: Tensor, _ gathered: (key: Tensor, value: Tensor), _ mask: AttentionMask,
    _ dropout: ModelDropout
  ) -> Tensor {
    let rate = dropoutRate
    let mixed = attention(
      query: heads(query(x)), key: gathered.key, value: gathered.value, mask: mask, scale: scale,
      dropped: dropout.acts(rate) ? { dropout($0, rate) } : nil)
    return output(mixed.transposed(1, 2).reshaped([x.size(0), x.size(1), -1]))
  }

  private func heads(_ projected: Tensor) -> Tensor {
    projected.reshaped([projected.size(0), projected.size(1), -1, headSize]).transposed(1, 2)
  }
}
