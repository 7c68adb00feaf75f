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
  /// The words' codes, int8 `[words, size]`, and their largest magnitudes, float32 `[words]`.
  let words, wordScales: Tensor

  /// Quantises the words and makes room for the shares.
  ///
  /// - Parameters:
  ///   - shares: float32 `[rows, words]`, contiguous, on the processor.
  ///   - part: The words, float32 `[words, size]`, contiguous.
  init(of shares: Tensor, words part: Tensor) {
    let (rows, count) = (shares.size(0), shares.size(1))
    self.shares = shares
    large = Tensor.empty([rows, (count + 15) / 16], dtype: .uint16)
    codes = Tensor.empty([rows, count], dtype: .int8)
    scales = Tensor.empty([rows], dtype: .float32)
    offsets = Tensor.empty([rows, 1], dtype: .float32)
    codeSums = Tensor.empty([rows], dtype: .int32)
    words = Tensor.empty(part.shape, dtype: .int8)
    wordScales = Tensor.empty([count], dtype: .float32)
    let size = Int64(part.size(1))
    forEachBlockRange(
      count, blockSize: part.size(1), [part, words, wordScales], name: "word_codes"
    ) {
      graft_quantize_rows(
        $0[0], Int32(GRAFT_FLOAT32), nil, size, 0, $1, $2, $0.elements(1, Int8.self),
        $0.elements(2, Float.self), nil)
    }
  }

  /// Adds p W, times the rows' sums.
  ///
  /// - Parameters:
  ///   - part: W, the words.
  ///   - sum: float32 `[rows, size]`, which becomes the result, and what its rows are multiplied by before,
  ///     float32 `[rows]`; nil for nothing.
  /// - Returns: float32 `[rows, size]`.
  func multiplied(byColumnsOf part: Tensor, onto sum: (Tensor, rowScale: Tensor)?) -> Tensor {
    let (rows, size, depth) = (shares.size(0), part.size(1), part.size(0))
    let result = sum?.0 ?? Tensor.zeros([rows, size], dtype: .float32)
    guard rows > 0, size > 0 else { return result }
    addLargeShares(shares, large, part, to: result, rowScale: sum?.rowScale)
    let term = NarrowTerm(rows: offsets, columns: 0..<1, factor: columnSums().reshaped([1, size]))
    let rowParts = partsOfRows(rows, panels: (size + 63) / 64)
    let product = graft_int8_product(
      x: codes.elements(), x_scale: scales.elements(), weight: words.elements(),
      weight_scale: nil, bias: nil, outlier: nil, outlier_column: nil,
      term: NarrowTerm?.some(term).forKernels, outlier_count: 0, rows: Int64(rows),
      outputs: Int64(size), depth: Int64(depth), row_parts: Int64(rowParts),
      x_sums: codeSums.elements(), transposed: true, adds: true, y: result.elements())
    withUnsafePointer(to: product) { product in
      multiplyParts(
        product, count: graft_int8_parts(product), workspace: graft_int8_workspace(product),
        multiplications: rows * size * depth, perPart: rows / rowParts * 64 * depth,
        name: "int8_multiply", oneByOne: true
      ) { graft_int8_multiply($0, $1, $2, $3, $4) }
    }
    withExtendedLifetime((self, term.factor, result)) {}
    return result
  }

  /// The sum of each column of the words' codes, float32 `[size]`.
  private func columnSums() -> Tensor {
    let (count, size) = (words.size(0), words.size(1))
    let sums = Tensor.empty([size], dtype: .float32)
    forEachBlockRange((size + 63) / 64, blockSize: 64 * count, [words, sums], name: "word_sums") {
      graft_code_column_sums(
        $0.elements(0, Int8.self), Int64(count), Int64(size), 64 * $1,
        min(64 * $2, Int64(size)), $0.elements(1, Float.self))
    }
    return sums
  }
}
