import Tensors

extension CodedInput {
  /// x W^T; columns that are not rounded meet W itself.
  ///
  /// - Parameters:
  ///   - words: W in codes.
  ///   - part: W, float32 `[words, size]`.
  /// - Returns: float32 `[rows, words]`.
  func multiplied(by words: WordCodes, _ part: Tensor) -> Tensor {
    let count = words.rows.codes.size(0)
    let scores = Tensor.empty([rows.codes.size(0), count], dtype: .float32)
    var factor = CodedRows.Factor(words.rows.codes, scales: words.rows.scales)
    factor.term = outliers.map { numbers, columns in
      NarrowTerm(
        rows: numbers, columns: 0..<columns.count,
        factor: words.numbers(ofColumns: columns, in: part))
    }
    rows.multiply(by: factor, into: scores)
    return scores
  }
}
