import CKernels

/// Input of products in whole numbers of 8 bits, but for the columns with the largest magnitudes.
///
/// Some columns of what a language model's layers are given can be many times as large as the others. They
/// meet the other factor in float32, as in arXiv 2208.07339; the steps of the other columns' codes are
/// then fine. There they are those above a threshold, here a fixed number of them.
package struct CodedInput {
  /// How many columns are left out, of inputs that are wide enough.
  static let mostColumns = 16

  /// Codes of the others; those columns' codes are 0.
  package let rows: CodedRows
  /// The numbers of what is left out, float32 `[rows, columns]`, and its columns, int64; nil for nothing.
  package let outliers: (numbers: Tensor, columns: Tensor)?

  /// Rounds rows.
  ///
  /// - Parameter x: float32 `[rows, size]` with at least one element, on the processor.
  package init(_ x: Tensor) {
    let x = x.detached().contiguous()
    let size = x.size(1)
    guard let columns = Self.largestColumns(x) else {
      rows = CodedRows(rounding: x)
      outliers = nil
      return
    }
    let kept = Tensor.full([size], 1, dtype: .float32).fillInPlace(0, at: columns, 0)
    let rows = CodedRows(rounding: x, columnFactors: kept)
    let numbers = Tensor.empty([x.size(0), columns.count], dtype: .float32)
    let count = columns.count
    // Each number is of another line of the cache.
    forEachBlockRange(
      x.size(0), blockSize: 16 * count, [x, columns, rows.codes, numbers], name: "take_columns"
    ) {
      graft_take_columns(
        $0[0], Int32(GRAFT_FLOAT32), Int64(size), $0.elements(1, Int64.self), Int64(count), $1, $2,
        $0.elements(2, Int8.self), $0.elements(3, Float.self))
    }
    (self.rows, outliers) = (rows, (numbers, columns))
  }

  private static func largestColumns(_ x: Tensor) -> Tensor? {
    let (rows, size) = (x.size(0), x.size(1))
    let count = min(mostColumns, size / 8)
    guard count > 0 else { return nil }
    let magnitudes = Tensor.empty([size], dtype: .float32)
    forEachBlockRange(size, blockSize: rows, [x, magnitudes], name: "column_scales") {
      graft_column_scales(
        $0[0], Int32(GRAFT_FLOAT32), Int64(rows), Int64(size), 0, $1, $2,
        $0.elements(1, Float.self))
    }
    return magnitudes.largest(count).indices
  }
}
