import CKernels
import Tensors

/// Words' shares in the sums of some rows, of which the large ones meet the head in float32 and the rest in
/// whole numbers of 8 bits.
///
/// Words are rounded to codes by their largest magnitudes, which go into the shares. A row's shares have
/// steps of 1 / 254 of its largest one that is not large. Most are below one step: what their rounding adds
/// or takes in sum is given back times the mean of all words' codes, as it would be a constant error.
struct WholeNumberShares {
  /// The least share that counts as large.
  static let leastLargeShare = 0x1p-11

  /// Shares times the sum of their row, float32 `[rows, words]`.
  let shares: Tensor
  /// Which are large: a bit for each, uint16 `[rows, ceil(words / 16)]`.
  let large: Tensor
  /// Codes of the others times ``wordScales``, int8 `[rows, words]`; -127 is 0.
  let codes: Tensor
  /// Their steps, and what the words' codes count besides, float32 `[rows]` and `[rows, 1]`.
  let scales, offsets: Tensor
  /// 128 times the sum of each row's codes, int32 `[rows]`.
  let codeSums: Tensor
  /// The words.
  let words: WordCodes

  /// Makes room for shares.
  ///
  /// - Parameters:
  ///   - shares: float32 `[rows, words]`, contiguous, on the processor.
  ///   - words: The words.
  init(of shares: Tensor, words: WordCodes) {
    let (rows, count) = (shares.size(0), shares.size(1))
    self.shares = shares
    self.words = words
    large = Tensor.empty([rows, (count + 15) / 16], dtype: .uint16)
    codes = Tensor.empty([rows, count], dtype: .int8)
    scales = Tensor.empty([rows], dtype: .float32)
    offsets = Tensor.empty([rows, 1], dtype: .float32)
    codeSums = Tensor.empty([rows], dtype: .int32)
  }

  /// Adds p W, times the rows' sums.
  ///
  /// - Parameters:
  ///   - part: W, the words.
  ///   - sum: float32 `[rows, size]`, which becomes the result, and what its rows are multiplied by before,
  ///     float32 `[rows]`; nil for nothing.
  /// - Returns: float32 `[rows, size]`.
  func multiplied(byColumnsOf part: Tensor, onto sum: (Tensor, rowScale: Tensor)?) -> Tensor {
    let (rows, size) = (shares.size(0), part.size(1))
    let result = sum?.0 ?? Tensor.zeros([rows, size], dtype: .float32)
    guard rows > 0, size > 0 else { return result }
    addLargeShares(shares, large, part, to: result, rowScale: sum?.rowScale)
    var factor = CodedRows.Factor(words.rows.codes, isTransposed: true)
    factor.term = NarrowTerm(
      rows: offsets, columns: 0..<1, factor: words.columnSums.reshaped([1, size]))
    CodedRows(codes: codes, scales: scales, sums: codeSums)
      .multiply(by: factor, into: result, adds: true)
    return result
  }
}
