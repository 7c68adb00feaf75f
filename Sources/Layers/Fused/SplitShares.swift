import CKernels
import Tensors

/// Words' shares in the sums of some rows, of which the large ones meet the head in float32 and the rest in
/// bfloat16.
///
/// With p a row's shares (softmax), what the rest's rounding adds to p W is random: about
/// 2^-9 / sqrt(3) sqrt(sum of p^2 over the rest) of the length of W's rows, where the sum is at most
/// ``leastLargeShare``.
struct SplitShares {
  /// The least share that counts as large; a row has at most 1 / that many.
  static let leastLargeShare = 0x1p-13

  /// Shares times the sum of their row, float32 `[rows, words]`.
  let shares: Tensor
  /// The same in bfloat16, with large ones as 0.
  let rest: Tensor
  /// Which are large: a bit for each, uint16 `[rows, ceil(words / 16)]`.
  let large: Tensor

  /// Makes room.
  ///
  /// - Parameter shares: float32 `[rows, words]`, contiguous, on the processor.
  init(of shares: Tensor) {
    self.shares = shares
    rest = Tensor.empty(shares.shape, dtype: .bfloat16)
    large = Tensor.empty([shares.size(0), (shares.size(1) + 15) / 16], dtype: .uint16)
  }

  /// Adds p W, times the rows' sums.
  ///
  /// - Parameters:
  ///   - part: W, float32 `[words, size]`, contiguous.
  ///   - sum: float32 `[rows, size]`, which becomes the result, and what its rows are multiplied by before,
  ///     float32 `[rows]`; nil for nothing.
  /// - Returns: float32 `[rows, size]`.
  func multiplied(
    byColumnsOf part: Tensor, onto sum: (Tensor, rowScale: Tensor)?
  ) -> Tensor {
    let result = BFloat16Rows(rest).multiplied(byColumnsOf: part, onto: sum)
    addLargeShares(shares, large, part, to: result, rowScale: nil)
    return result
  }
}

/// Adds large shares times their words, in float32.
///
/// - Parameters:
///   - shares: float32 `[rows, words]`, contiguous.
///   - large: A bit for each, uint16 `[rows, ceil(words / 16)]`.
///   - part: The words, float32 `[words, size]`, contiguous.
///   - sum: float32 `[rows, size]`, which is written to.
///   - rowScale: What its rows are multiplied by before, float32 `[rows]`; nil for nothing.
func addLargeShares(
  _ shares: Tensor, _ large: Tensor, _ part: Tensor, to sum: Tensor, rowScale: Tensor?
) {
  guard sum.count > 0 else { return }
  let (words, size, isScaled) = (Int64(shares.size(1)), Int64(part.size(1)), rowScale != nil)
  forEachBlockRange(
    shares.size(0), blockSize: shares.size(1),
    [shares, large, part, sum] + (rowScale.map { [$0] } ?? []), name: "large_shares"
  ) {
    graft_add_large_shares(
      $0.elements(0, Float.self), $0.elements(1, UInt16.self), words, $0.elements(2, Float.self),
      size, isScaled ? $0.elements(4, Float.self) : nil, $1, $2, $0.elements(3, Float.self))
  }
}
