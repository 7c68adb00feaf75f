import Layers
import Tensors

/// Tokens of rows of several lengths one behind the other, without the padding on their right.
///
/// Everything but attention treats each token alone, and padding would cost as much as tokens do. What
/// stands at padding in rows that are spread out again, is what the first token has: later keys are seen
/// by no token, and nobody looks at padding's outputs.
package struct JoinedRows {
  // B rows, L places of each, N tokens of all, C numbers.
  /// B.
  let rowCount: Int
  /// L.
  let length: Int
  /// Each token's place in the rows, int64 `[N]`.
  private let places: Tensor
  /// Each place's token, 0 at padding, int64 `[B * L]`.
  private let tokens: Tensor
  /// Places of padding, int64.
  private let padding: Tensor

  /// Nil where there is too little padding to gain by it.
  init?(lengths: [Int], length: Int, device: Device) {
    let all = lengths.count * length
    guard Double(lengths.reduce(0, +)) <= 0.97 * Double(all), lengths.contains(where: { $0 > 0 })
    else { return nil }
    var (places, padding) = ([Int](), [Int]())
    var tokens = [Int](repeating: 0, count: all)
    for (row, own) in lengths.enumerated() {
      for place in row * length..<(row + 1) * length {
        if place < row * length + own {
          tokens[place] = places.count
          places.append(place)
        } else {
          padding.append(place)
        }
      }
    }
    rowCount = lengths.count
    self.length = length
    self.places = Tensor(places).to(device: device)
    self.tokens = Tensor(tokens).to(device: device)
    self.padding = Tensor(padding).to(device: device)
  }

  /// From one number, or row of numbers, for each place to those of tokens.
  ///
  /// - Parameter x: `[B * L, ...]`.
  /// - Returns: `[N, ...]`.
  func chosen(_ x: Tensor) -> Tensor { x.selecting(0, places) }

  /// From `[B, L, C]` to `[1, N, C]`.
  func joined(_ x: Tensor) -> Tensor {
    differentiable("JoinRows", [x]) { inputs in
      let shape = inputs[0].shape
      return (
        inputs[0].rows().selecting(0, places).unsqueezed(0),
        { gradient in
          [
            gradient.rows().selecting(0, tokens).fillInPlace(0, at: padding, 0)
              .reshaped(shape)
          ]
        }
      )
    }
  }

  /// From `[1, H, N, D]`, heads of tokens, to `[B, H, L, D]`.
  func spread(_ x: Tensor) -> Tensor {
    let (heads, size) = (x.size(1), x.size(3))
    let flat = x.transposed(1, 2).reshaped([-1, heads * size])  // [N, H * D]
    let rows = differentiable("SpreadRows", [flat]) { inputs in
      (inputs[0].selecting(0, tokens), { [$0.selecting(0, places)] })
    }
    return rows.reshaped([rowCount, length, heads, size]).transposed(1, 2)
  }

  /// A batch of one row.
  func input(_ batch: DecoderInput) -> DecoderInput {
    let positions = Tensor.arange(0, length, device: batch.ids.device).unsqueezed(0)
      .expanded([rowCount, length]).reshaped([-1])
    return DecoderInput(
      ids: chosen(batch.ids.reshaped([-1])).unsqueezed(0),
      positions: chosen(positions).unsqueezed(0))
  }
}

extension DecoderModel {
  /// The tokens of a batch without its padding, where every layer is known to treat each of them alone.
  package func joinedRows(_ batch: DecoderInput) -> JoinedRows? {
    guard usesFusedLayers, let lengths = batch.rowLengths, batch.mask == nil,
      batch.positions == nil, batch.sequenceIDs == nil, batch.taskIDs == nil, prompt == nil,
      companion == nil, !drawsForTokens, layers.allSatisfy(\.treatsTokensAlone)
    else { return nil }
    return JoinedRows(lengths: lengths, length: batch.ids.size(1), device: batch.ids.device)
  }

  /// Whether dropout of its own draws numbers for tokens.
  ///
  /// Without padding they would be others than transformers draws. Attention's weights are those of
  /// padded rows in any case.
  private var drawsForTokens: Bool {
    let rates = configuration.dropout
    return [rates.embeddings, rates.attentionOutput, rates.mlpOutput].contains(where: dropout.acts)
  }
}

extension DecoderLayer {
  /// Whether its linear layers, with their adapters, compute each token from nothing but itself, and
  /// nothing is added to attention.
  fileprivate var treatsTokensAlone: Bool {
    attention.extensions.isEmpty
      && (attention.linearLayers + mlp.linearLayers).allSatisfy(\.projection.treatsRowsAlone)
  }
}

extension DecoderAttention {
  fileprivate var linearLayers: [Linear] {
    switch projections {
    case .separate(let query, let key, let value): [query, key, value, output]
    case .fused(let all): [all, output]
    }
  }
}

extension DecoderMLP {
  fileprivate var linearLayers: [Linear] {
    switch inputs {
    case .gated(let gate, let up): [gate, up, down]
    case .fused(let both): [both, down]
    case .plain(let up): [up, down]
    }
  }
}
