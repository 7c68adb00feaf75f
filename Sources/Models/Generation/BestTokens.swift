import CKernels
import Tensors

/// The best token of each row of scores.
struct BestTokens {
  /// The scores of the best tokens; NaN where a row has one.
  let scores: [Float]
  /// The tokens, of equal ones the first.
  let tokens: [Int]

  /// Looks for them.
  ///
  /// On the processor this is one pass of the caller alone: LibTorch's threads, once called, look for more
  /// work for some milliseconds, in which those of a step wait for a processor.
  ///
  /// - Parameter scores: `[rows, vocabulary]`, not empty.
  init(_ scores: Tensor) {
    guard scores.device.kind == .cpu, scores.dtype == .float32 else {
      self.scores = scores.max(-1).array(of: Float.self)
      tokens = scores.indexOfMaximum().array(of: Int.self)
      return
    }
    let source = scores.contiguous()
    let (rows, size) = (source.size(0), source.size(1))
    var largest = [Float](repeating: 0, count: rows)
    var places = [Int64](repeating: 0, count: rows)
    graft_row_maximum(source.elements(), Int64(size), 0, Int64(rows), &largest, &places)
    withExtendedLifetime(source) {}
    self.scores = largest
    tokens = places.map(Int.init)
  }
}
