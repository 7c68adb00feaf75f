import Tensors

/// Input of a head in whole numbers of 8 bits, but for the columns with the largest magnitudes.
///
/// A few columns of what a language model's last norm gives can be many times as large as the others, as
/// SmolLM2's are. They meet the head in float32, as in arXiv 2208.07339; the steps of the other
/// columns' codes are then fine. There they are those above a threshold, here a fixed number of them.
struct CodedInput {
  /// How many columns are not rounded, of inputs that are wide enough.
  static let exactColumnCount = 16

  /// Codes of the others.
  let rows: CodedRows
  /// The columns, int64, and their numbers, float32 `[rows, columns]`.
  let columns, numbers: Tensor

  /// Rounds rows.
  ///
  /// - Parameter x: float32 `[rows, size]` with at least one element, on the processor.
  init(_ x: Tensor) {
    let x = x.detached()
    let count = min(Self.exactColumnCount, x.size(1) / 8)
    columns = x.absolute().max(0).largest(count).indices
    numbers = x.selecting(1, columns).contiguous()
    rows = CodedRows(rounding: x.cloned().contiguous().fillInPlace(1, at: columns, 0))
  }

  /// x W^T.
  ///
  /// - Parameters:
  ///   - words: W in codes.
  ///   - part: W, float32 `[words, size]`.
  /// - Returns: float32 `[rows, words]`.
  func multiplied(by words: WordCodes, _ part: Tensor) -> Tensor {
    let scores = Tensor.empty([rows.codes.size(0), part.size(0)], dtype: .float32)
    var factor = CodedRows.Factor(words.rows.codes, scales: words.rows.scales)
    factor.term = NarrowTerm(
      rows: numbers, columns: 0..<columns.count, factor: part.selecting(1, columns).transposed())
    rows.multiply(by: factor, into: scores)
    return scores
  }
}
