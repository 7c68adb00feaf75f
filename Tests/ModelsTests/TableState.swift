import Models
import Tensors

/// A made-up model whose scores depend on the last token only.
final class TableState: DecodingState {
  let vocabularySize: Int
  let device = Device.cpu
  private let table: Tensor
  /// Numbers of the first rows that its rows come from.
  private(set) var origins: [Int] = []
  /// Tokens that it read.
  private(set) var readCount = 0

  /// `table` is `[vocabulary, vocabulary]`: scores by last token.
  init(_ table: Tensor) {
    self.table = table
    vocabularySize = table.size(0)
  }

  func scores(after ids: Tensor) -> Tensor {
    if readCount == 0 { origins = Array(0..<ids.size(0)) }
    readCount += ids.size(1)
    return table.selecting(0, ids.narrowed(1, ids.size(1) - 1..<ids.size(1)).reshaped([-1]))
  }

  func keep(rows: [Int]) { origins = rows.map { origins[$0] } }
}

extension GenerationInput {
  /// Rows that begin with one token each.
  init(tokens: [Int], room: Int) {
    self.init(
      ids: Tensor(tokens, shape: [tokens.count, 1]), padding: tokens.map { _ in 0 },
      room: tokens.map { _ in room })
  }
}
