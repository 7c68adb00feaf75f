public import Tensors

/// A batch of rows for a model with encoder and decoder.
public struct Seq2SeqInput {
  /// What the encoder reads, int64 `[batch, length]`.
  public var ids: Tensor
  /// int64 `[batch, length]`, zero where a position is padding; nil when none is.
  public var mask: Tensor?
  /// What the decoder has written, int64 `[batch, targets]`, beginning with the start token; nil where
  /// it follows from labels.
  public var decoderIDs: Tensor?
  /// int64 `[batch, targets]`, zero where a position of the decoder is padding; nil when none is, or
  /// when the padding is on the right and nobody looks at its outputs.
  public var decoderMask: Tensor?
  /// int64 `[batch]`, tasks of the rows, for adapters of several tasks; nil for none.
  public var taskIDs: Tensor?

  /// Makes a batch.
  ///
  /// - Parameters:
  ///   - ids: int64 `[batch, length]`.
  ///   - mask: int64 `[batch, length]` or nil.
  ///   - decoderIDs: int64 `[batch, targets]`, or nil where labels are given.
  ///   - decoderMask: int64 `[batch, targets]` or nil.
  ///   - taskIDs: int64 `[batch]` or nil.
  public init(
    ids: Tensor, mask: Tensor? = nil, decoderIDs: Tensor? = nil, decoderMask: Tensor? = nil,
    taskIDs: Tensor? = nil
  ) {
    self.ids = ids
    self.mask = mask
    self.decoderIDs = decoderIDs
    self.decoderMask = decoderMask
    self.taskIDs = taskIDs
  }
}
