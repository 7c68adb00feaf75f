public import Tensors

/// A batch of rows for a model with the head of a task.
public struct TaskInput {
  /// int64 `[batch, length]`.
  public var ids: Tensor
  /// int64 `[batch, length]`, zero where a position is padding; nil when none is.
  public var mask: Tensor?
  /// int64 `[batch, length]`, segments; nil for the first one everywhere.
  public var tokenTypes: Tensor?
  /// int64 `[batch or 1, length]`; nil for the family's own.
  public var positions: Tensor?
  /// int64 `[batch]`, tasks of the rows, for adapters of several tasks; nil for none.
  public var taskIDs: Tensor?
  /// int64 `[batch, length]`, what a decoder beside the encoder reads; nil for the row itself behind
  /// the start token.
  public var decoderIDs: Tensor?
  /// int64 `[batch, length]`, zero where a position of that decoder is padding; nil when none is.
  public var decoderMask: Tensor?

  /// Makes a batch.
  ///
  /// - Parameters:
  ///   - ids: int64 `[batch, length]`.
  ///   - mask: int64 `[batch, length]` or nil.
  ///   - tokenTypes: int64 `[batch, length]` or nil; decoders have no segments.
  ///   - positions: int64 `[batch or 1, length]` or nil.
  ///   - taskIDs: int64 `[batch]` or nil.
  public init(
    ids: Tensor, mask: Tensor? = nil, tokenTypes: Tensor? = nil, positions: Tensor? = nil,
    taskIDs: Tensor? = nil
  ) {
    self.ids = ids
    self.mask = mask
    self.tokenTypes = tokenTypes
    self.positions = positions
    self.taskIDs = taskIDs
  }

  /// The same for a decoder.
  var forDecoder: DecoderInput {
    DecoderInput(ids: ids, mask: mask, positions: positions, taskIDs: taskIDs)
  }
}

/// What is right for a batch.
public enum TaskLabels {
  /// Classes or tokens, int64 `[batch]` or `[batch, length]`; `ignoredLabel` where nothing is asked.
  case classes(Tensor)
  /// Numbers, `[batch]` or `[batch, outputs]`: those to predict, or 1 for each class that is right.
  case values(Tensor)
  /// First and last positions of answers, int64 `[batch]`; those behind the row count for nothing.
  case answers(start: Tensor, end: Tensor)
}
