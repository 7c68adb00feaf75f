import CKernels
import Tensors

/// Words of a head in whole numbers of 8 bits, each over its own largest magnitude.
final class WordCodes {
  /// Codes `[words, size]` and largest magnitudes `[words]`.
  let rows: CodedRows
  /// The sum of each column of the codes, float32 `[size]`.
  private(set) lazy var columnSums = summedColumns()
  /// Numbers of columns that were asked for, float32 `[words]`.
  private var columns: [Int64: Tensor] = [:]
  /// How many of them are kept; most inputs have the same largest ones.
  private static let mostColumns = 64

  /// Rounds words.
  ///
  /// - Parameter part: The words, float32 `[words, size]`, contiguous, on the processor.
  init(_ part: Tensor) { rows = CodedRows(rounding: part, needsSums: false) }

  /// Numbers of some columns before they were rounded.
  ///
  /// - Parameters:
  ///   - wanted: The columns, int64.
  ///   - part: The words.
  /// - Returns: float32 `[columns, words]`.
  func numbers(ofColumns wanted: Tensor, in part: Tensor) -> Tensor {
    let all = wanted.array(of: Int64.self)
    var missing = all.filter { columns[$0] == nil }
    if columns.count + missing.count > Self.mostColumns { (columns, missing) = ([:], all) }
    if !missing.isEmpty {
      let read = part.selecting(1, Tensor(missing)).transposed().contiguous()
      for (index, column) in missing.enumerated() { columns[column] = read.selected(0, index) }
    }
    return Tensor.stacked(all.compactMap { columns[$0] })
  }

  private func summedColumns() -> Tensor {
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

/// Words of a head in whole numbers, kept from one loss to the next.
///
/// They take a quarter of the head's memory, and spare each loss reading all of it. Nothing may write into a
/// head whose codes are kept; one that is put in its place is noticed.
public final class KeptWordCodes {
  private weak var weight: Tensor?
  private var isKnown = false
  private var parts: [Int: WordCodes] = [:]

  /// Makes one that keeps nothing.
  public init() {}

  /// Begins a loss.
  ///
  /// Codes are kept from the second one over the same head on: those of another one each time, as of
  /// weights that are gathered for each step, would be kept in vain.
  ///
  /// - Parameter weight: The head.
  func begin(_ weight: Tensor) {
    isKnown = self.weight === weight
    guard !isKnown else { return }
    self.weight = weight
    parts = [:]
  }

  /// Codes of a part.
  ///
  /// - Parameters:
  ///   - start: The first word, of parts that are the same ones in each loss.
  ///   - part: The words, float32 `[words, size]`, contiguous, on the processor.
  /// - Returns: Its codes.
  func words(from start: Int, of part: Tensor) -> WordCodes {
    if let found = parts[start] { return found }
    let made = WordCodes(part)
    if isKnown { parts[start] = made }
    return made
  }
}
