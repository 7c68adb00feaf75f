import CKernels
import Tensors

/// Words of a head in whole numbers of 8 bits, each over its own largest magnitude.
struct WordCodes {
  /// Codes `[words, size]` and largest magnitudes `[words]`.
  let rows: CodedRows

  /// Rounds words.
  ///
  /// - Parameter part: The words, float32 `[words, size]`, contiguous, on the processor.
  init(_ part: Tensor) { rows = CodedRows(rounding: part, needsSums: false) }

  /// The sum of each column of the codes, float32 `[size]`.
  func columnSums() -> Tensor {
    let codes = rows.codes
    let (count, size) = (codes.size(0), codes.size(1))
    let sums = Tensor.empty([size], dtype: .float32)
    forEachBlockRange((size + 63) / 64, blockSize: 64 * count, [codes, sums], name: "word_sums") {
      graft_code_column_sums(
        $0.elements(0, Int8.self), Int64(count), Int64(size), 64 * $1,
        min(64 * $2, Int64(size)), $0.elements(1, Float.self))
    }
    return sums
  }
}
