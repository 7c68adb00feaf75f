import Synchronization
import Tensors

/// Two matrices for what lives within one function only, whose memory stays for the next call.
///
/// The outputs of gate and up are larger than what a block keeps. As new tensors they leave holes in the
/// heap that the next block's smaller ones partly fill, so that the heap grows by half of what it holds.
struct ScratchRows {
  private struct Pair: @unchecked Sendable {
    let tensors: [Tensor]
  }
  private static let free = Mutex<Pair?>(nil)

  /// Runs a body with two float32 matrices `[rows, columns]` of any content, which it must not keep.
  static func withPair<Result>(
    rows: Int, columns: Int, _ body: (_ pair: [Tensor]) -> Result
  ) -> Result {
    let found = free.withLock { kept in
      defer { kept = nil }
      return kept
    }
    // Another function that runs at the same time makes its own.
    var pair = found?.tensors.first?.shape == [rows, columns] ? found?.tensors : nil
    if pair == nil {
      pair = (0..<2).map { _ in Tensor.empty([rows, columns], dtype: .float32) }
    }
    let tensors = pair ?? []
    defer {
      let made = Pair(tensors: tensors)
      free.withLock { $0 = made }
    }
    return body(tensors)
  }
}
