public import Datasets
import Foundation
public import Models
public import Tensors

extension EncoderDecoderForConditionalGeneration: LossModel {
  /// What rows are filled up with; a mask hides it.
  public var fillingID: Int32 { Int32(configuration.paddingID) }

  /// Summed cross entropy of what a batch wants written.
  ///
  /// - Parameter batch: Rows with labels of the decoder.
  /// - Returns: A scalar in float32.
  public func summedLoss(_ batch: TokenBatch) -> Tensor {
    guard let labels = batch.decoderLabels else {
      preconditionFailure("summedLoss: the batch has nothing to write")
    }
    let rows = batch.taskInput(on: device)
    let written = Tensor(labels, shape: [batch.rowCount, batch.decoderLength])
    return summedLoss(
      Seq2SeqInput(ids: rows.ids, mask: rows.mask, taskIDs: rows.taskIDs),
      labels: written.to(.int64).to(device: device))
  }

  /// Loss and perplexity.
  ///
  /// - Parameters:
  ///   - examples: The data.
  ///   - batchSize: Rows of a batch.
  ///   - share: The batches of this process.
  /// - Returns: Both.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func figures(
    of examples: [TokenizedExample], batchSize: Int, share: EvaluationShare
  ) throws -> [(name: String, value: Double)] {
    let loss = try meanLoss(self, examples, batchSize: batchSize, share: share)
    return [("loss", loss), ("perplexity", exp(loss))]
  }
}
