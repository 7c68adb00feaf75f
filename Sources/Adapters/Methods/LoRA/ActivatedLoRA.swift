import Layers
import Tensors

/// A low-rank update that acts from the last occurrence of some tokens on.
///
/// Before them the layer is the base, whose keys and values another program may have cached; in a row
/// without them it is the base throughout. In packed rows each document is a row of its own. Tokens
/// that come one by one, with cached ones before them, are as the call that began the row found it.
///
/// Source: Greenewald et al. 2025, arXiv 2504.12397.
final class ActivatedLoRAAdapter: LowRankLayerAdapter {
  let factors: LoRAFactors
  private let tokens: [Int]

  init(_ factors: LoRAFactors, tokens: [Int]) {
    (self.factors, self.tokens) = (factors, tokens)
  }

  var parameters: [AdapterParameter] { factors.parameters }

  func obstacle(toMergingInto base: any LinearProjection) -> String? {
    "it changes at some positions only (alora_invocation_tokens)"
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    guard let acts = context.invocations?.mask(tokens), acts.shape == Array(x.shape.dropLast())
    else {
      // Nobody said what the tokens are: the base, with gradients of zero.
      return factors.adding(to: y, x * 0, context)
    }
    return factors.adding(to: y, x * acts.unsqueezed(-1).to(x.dtype), context)
  }

  func merge(into layer: inout MergedLayer) {
    preconditionFailure("an activated LoRA cannot be merged")
  }
}

/// The tokens of the current batch, and where sequences of them begin.
final class Invocations {
  private var ids: [[Int]] = []
  private var documents: [[Int]]?
  private var shape = [0, 0]
  private var past = 0
  private var device = Device.cpu
  /// First positions that a sequence makes active, by row; nil in rows without it.
  private var starts: [[Int]: [Int?]] = [:]
  private var masks: [[Int]: Tensor] = [:]

  /// Takes a batch: ids and documents `[batch, length]`, and how many positions were before it.
  func begin(ids: Tensor, documents: Tensor?, past: Int) {
    func rows(_ tensor: Tensor) -> [[Int]] {
      let (values, length) = (tensor.to(.int64).array(of: Int.self), tensor.size(1))
      return stride(from: 0, to: values.count, by: length).map { Array(values[$0..<$0 + length]) }
    }
    masks = [:]
    (shape, device, self.past) = (ids.shape, ids.device, past)
    guard past == 0 else { return }
    starts = [:]
    self.ids = rows(ids)
    self.documents = documents.map(rows)
  }

  /// Takes other rows of the batch that began, some perhaps more than once.
  func keep(rows: [Int]) {
    starts = starts.mapValues { starts in
      rows.map { $0 < starts.count ? starts[$0] : nil }
    }
  }

  /// Which positions of the batch are at or behind the last occurrence of a sequence, bool.
  func mask(_ tokens: [Int]) -> Tensor {
    if let mask = masks[tokens] { return mask }
    let (batch, length) = (shape[0], shape[1])
    var acts: [Bool] = []
    if past == 0 {
      let found = ids.indices.map { row in positions(of: tokens, inRow: row) }
      starts[tokens] = found.map { $0.firstIndex(of: true) }
      acts = found.flatMap { $0 }
    } else {
      let known = starts[tokens] ?? []
      for row in 0..<batch {
        let isActive = row < known.count && known[row] != nil
        acts += Array(repeating: isActive, count: length)
      }
    }
    let mask = Tensor(acts.map { $0 ? Int64(1) : 0 }, shape: shape).to(device: device)
    masks[tokens] = mask
    return mask
  }

  private func positions(of tokens: [Int], inRow row: Int) -> [Bool] {
    let ids = ids[row]
    var acts = Array(repeating: false, count: ids.count)
    var begin = 0
    while begin < ids.count {
      let document = documents?[row][begin]
      var end = begin + 1
      while end < ids.count, documents?[row][end] == document { end += 1 }
      let last = stride(from: end - tokens.count, through: begin, by: -1)
        .first { ids[$0..<$0 + tokens.count].elementsEqual(tokens) }
      if let last { for place in last..<end { acts[place] = true } }
      begin = end
    }
    return acts
  }
}
