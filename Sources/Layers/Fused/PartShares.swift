import CKernels
import Tensors

/// Words' shares in the sums of some rows, of one part of the words, as the gradient's product takes them.
enum PartShares {
  /// Written over the scores.
  case float32(Tensor)
  case bfloat16(Tensor)
  case roundedRest(SplitShares)
  case wholeNumberRest(WholeNumberShares)

  /// Makes room for shares.
  ///
  /// - Parameters:
  ///   - products: What numbers the product is computed with.
  ///   - scores: Scores of the part, float32 `[rows, words]`, contiguous, over which shares may be written.
  ///   - words: The words in codes, where ``LossProducts/codesWords``.
  init(_ products: LossProducts, over scores: Tensor, words: WordCodes?) {
    switch (products, words) {
    case (.bfloat16, _): self = .bfloat16(Tensor.empty(scores.shape, dtype: .bfloat16))
    case (.roundedRest, _): self = .roundedRest(SplitShares(of: scores))
    case (.wholeNumberRest, let words?), (.wholeNumbers, let words?):
      self = .wholeNumberRest(WholeNumberShares(of: scores, words: words))
    default: self = .float32(scores)
    }
  }

  /// What is written to or read beside the scores.
  var tensors: [Tensor] {
    switch self {
    case .float32: []
    case .bfloat16(let shares): [shares]
    case .roundedRest(let split): [split.rest, split.large]
    case .wholeNumberRest(let coded):
      [
        coded.large, coded.codes, coded.scales, coded.offsets, coded.codeSums,
        coded.words.rows.scales,
      ]
    }
  }

  /// Splits a row's shares, where they are.
  ///
  /// - Parameters:
  ///   - products: What numbers the product is computed with.
  ///   - memory: The shares, and what follows.
  ///   - sums: Where the rows' sums are in it.
  ///   - first: Where ``tensors`` begin in it.
  ///   - width: Words of the part.
  ///   - row: The row.
  static func split(
    _ products: LossProducts, _ memory: KernelMemory, sums: Int, first: Int, width: Int64,
    row: Int64
  ) {
    let (shares, sums) = (memory.elements(0, Float.self), memory.elements(sums, Double.self))
    switch products {
    case .float32, .bfloat16: return
    case .roundedRest:
      graft_split_shares(
        shares, sums, SplitShares.leastLargeShare, width, row, row + 1,
        memory.elements(first, UInt16.self), memory.elements(first + 1, UInt16.self))
    case .wholeNumberRest, .wholeNumbers:
      graft_quantize_shares(
        shares, sums, WholeNumberShares.leastLargeShare, memory.elements(first + 5, Float.self),
        width, row, row + 1, memory.elements(first, UInt16.self),
        memory.elements(first + 1, Int8.self), memory.elements(first + 2, Float.self),
        memory.elements(first + 3, Float.self), memory.elements(first + 4, Int32.self))
    }
  }

  /// Adds p W, times the rows' sums.
  ///
  /// - Parameters:
  ///   - part: W, the words.
  ///   - sum: float32 `[rows, size]`, which may become the result, and what its rows are multiplied by
  ///     before, float32 `[rows]`; nil for nothing.
  /// - Returns: float32 `[rows, size]`.
  func multiplied(byColumnsOf part: Tensor, onto sum: (Tensor, rowScale: Tensor)?) -> Tensor {
    switch self {
    case .float32(let shares):
      guard let (sum, rowScale) = sum else { return shares.linear(part.transposed()) }
      return shares.linear(
        part.transposed(), addedTo: sum.multiplyInPlace(rowScale.unsqueezed(1)))
    case .bfloat16(let shares):
      return BFloat16Rows(shares).multiplied(byColumnsOf: part, onto: sum)
    case .roundedRest(let split): return split.multiplied(byColumnsOf: part, onto: sum)
    case .wholeNumberRest(let coded): return coded.multiplied(byColumnsOf: part, onto: sum)
    }
  }
}
