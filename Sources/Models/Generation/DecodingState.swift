public import Tensors

/// Texts that a model is in the midst of: all that generation asks of a model.
///
/// A state knows what was read so far, such as keys and values in a cache and what an encoder made of
/// its input. It begins without having read anything.
public protocol DecodingState: AnyObject {
  /// Tokens of the vocabulary.
  var vocabularySize: Int { get }
  /// Where scores are computed.
  var device: Device { get }

  /// Reads tokens and scores what could come next.
  ///
  /// - Parameter ids: int64 `[rows, count]`, the newest tokens of each row: at first the whole
  ///   beginning with its padding on the left, then one token each.
  /// - Returns: Scores of the next token, `[rows, vocabulary]`, of any floating-point type.
  func scores(after ids: Tensor) -> Tensor

  /// Goes on with other rows.
  ///
  /// - Parameter rows: Numbers of rows to go on with, in their new order, some perhaps more than once.
  func keep(rows: [Int])
}

/// What generation begins with.
public struct GenerationInput {
  /// int64 `[prompts, length]`, padded on the left.
  public var ids: Tensor
  /// How many tokens of each row are padding.
  public var padding: [Int]
  /// Most tokens that may be added to each row.
  public var room: [Int]
  /// int64 `[prompts, length]`, what an encoder read; nil for a model without one.
  public var encoderIDs: Tensor?

  /// Makes an input.
  ///
  /// - Parameters:
  ///   - ids: int64 `[prompts, length]`, padded on the left.
  ///   - padding: How many tokens of each row are padding.
  ///   - room: Most tokens that may be added to each row.
  ///   - encoderIDs: What an encoder read.
  public init(ids: Tensor, padding: [Int], room: [Int], encoderIDs: Tensor? = nil) {
    self.ids = ids
    self.padding = padding
    self.room = room
    self.encoderIDs = encoderIDs
  }

  /// Tokens of each row without padding.
  var rows: [[Int]] {
    let (all, width) = (ids.array(of: Int.self), ids.size(1))
    return padding.enumerated().map { row, padding in
      Array(all[row * width + padding..<(row + 1) * width])
    }
  }

  /// What rules have to know of the rows, each prompt `copies` times.
  func context(copies: Int, _ state: any DecodingState) -> ProcessorContext {
    func repeated(_ values: [Int]) -> [Int] {
      values.flatMap { Array(repeating: $0, count: copies) }
    }
    let width = ids.size(1)
    return ProcessorContext(
      vocabularySize: state.vocabularySize, device: state.device, promptLength: width,
      padding: repeated(padding), endLengths: repeated(room.map { width + $0 }),
      encoderIDs: encoderIDs)
  }
}
