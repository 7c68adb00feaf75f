import Layers
import Tensors

/// Texts that a decoder is in the midst of, with a cache of keys and values.
///
/// What all rows begin with may be in the cache already. Then padding stands between it and what is
/// each row's own.
final class DecoderState: DecodingState {
  private let model: DecoderForCausalLM
  let cache: KeyValueCache
  /// Tokens of every row that are in the cache already.
  private let prefixLength: Int
  private let padding: [Int]
  private var isPadded = false
  private var rowCount = 0
  private var mask: Tensor?
  private var positions: Tensor?
  /// Goes through the blocks with one new token a row; made when the first one comes.
  private var step: DecoderStep?
  private var head: FewRowsGroup?
  private var hasSteps = false

  /// `cache` holds the model's virtual tokens and the first `prefixLength` tokens of every row, in one
  /// row; or nothing.
  init(_ model: DecoderForCausalLM, padding: [Int], cache: KeyValueCache, prefixLength: Int) {
    self.model = model
    self.padding = padding
    self.cache = cache
    self.prefixLength = prefixLength
  }

  var vocabularySize: Int { model.configuration.vocabularySize }
  var device: Device { model.device }

  func scores(after ids: Tensor) -> Tensor {
    var ids = ids
    let rows = ids.size(0)
    if rowCount > 0 {
      if let before = mask {
        mask = .concatenated(
          [before, .ones([rows, ids.size(1)], dtype: .int64, device: device)], dimension: 1)
        positions = positions.map { ($0.narrowed(1, $0.size(1) - 1..<$0.size(1)) + 1.0).to(.int64) }
      }
    } else {
      ids = begin(ids)
    }
    rowCount = rows
    if ids.size(1) == 1, !hasSteps, model.model.usesStepKernels, model.model.residency == nil {
      hasSteps = true
      step = DecoderStep(model.model)
      head = FewRowsGroup([model.head])
    }
    return FewRows.$arePreferred.withValue(model.model.usesStepKernels) {
      scores(DecoderInput(ids: ids, mask: mask, positions: positions))
    }
  }

  private func scores(_ batch: DecoderInput) -> Tensor {
    let (rows, length) = (batch.ids.size(0), batch.ids.size(1))
    let hidden =
      length > 1
      ? Runtime.withFastProducts {
        model.model.states(batch, cache: cache, fused: model.model.usesStepKernels).states
      }
      : model.model.states(batch, cache: cache, step: step).states
    let last = hidden.narrowed(1, hidden.size(1) - 1..<hidden.size(1))
    return scores(last.reshaped([rows, -1]))
  }

  /// Scores of all tokens behind `[rows, hiddenSize]`.
  private func scores(_ hidden: Tensor) -> Tensor {
    guard let head, hidden.size(0) <= FewRows.most, hidden.dtype == .float32, hidden.isContiguous
    else { return model.scores(hidden) }
    let result = Tensor.empty([hidden.size(0), head.outputSizes[0]], dtype: .float32)
    let rows = FewRows(hidden.elements(), count: hidden.size(0), size: hidden.size(1))
    head(rows, into: [result.elements()])
    withExtendedLifetime((hidden, result)) {}
    return model.adjusted(result)
  }

  /// Masks padding and skips what is in the cache; the rows' own tokens.
  private func begin(_ ids: Tensor) -> Tensor {
    let (rows, width) = (ids.size(0), ids.size(1))
    if prefixLength > 0, rows > 1 {
      cache.keep(rows: Tensor(Array(repeating: 0, count: rows)).to(device: device))
    }
    if padding.contains(where: { $0 > 0 }) {
      // The first `padding` columns behind the prefix hold padding, or the prefix once more.
      let shown = padding.flatMap { padding in
        (0..<width).map { $0 < prefixLength || $0 >= prefixLength + padding ? 1 : 0 }
      }
      let mask = Tensor(shown, shape: [rows, width]).to(device: device)
      self.mask = mask
      positions = (mask.cumulativeSum() + -1.0).clamped(lower: 0).to(.int64)
        .narrowed(1, prefixLength..<width)
    }
    return prefixLength > 0 ? ids.narrowed(1, prefixLength..<width) : ids
  }

  func keep(rows: [Int]) {
    guard rows != Array(0..<rowCount) else { return }
    rowCount = rows.count
    let places = Tensor(rows).to(device: device)
    cache.keep(rows: places)
    mask = mask?.selecting(0, places)
    positions = positions?.selecting(0, places)
    model.model.rowObserver?(rows)
  }
}
