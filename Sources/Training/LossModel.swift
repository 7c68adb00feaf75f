public import Datasets
import Foundation
public import Layers
public import Models
public import Tensors

/// A model that computes the loss of batches of token ids, with adapters or without.
public protocol LossModel: StoredModel {
  /// Where the weights live.
  var device: Device { get }
  /// What rows are filled up with.
  var fillingID: Int32 { get }
  /// Whether blocks are computed again in the backward pass instead of being kept.
  var checkpointsActivations: Bool { get set }
  /// Whether layers of a block that allow it are computed together; see `DecoderModel`.
  var usesFusedLayers: Bool { get set }

  /// What brings the numbers of the blocks to the passes; nil where they are always there.
  var residency: BlockResidency? { get set }
  /// The blocks as residencies count them; none where there can be no residency.
  var blocks: [any Module] { get }

  /// The loss of a batch, summed over what it asks.
  ///
  /// - Parameter batch: Rows and what is right for them.
  /// - Returns: A scalar in float32; divided by the batch's `targetCount` it is the mean.
  func summedLoss(_ batch: TokenBatch) -> Tensor

  /// Figures of examples, beside the mean loss that comes first.
  ///
  /// - Parameters:
  ///   - examples: The data.
  ///   - batchSize: Rows of a batch.
  ///   - share: The batches of this process.
  /// - Returns: Names, as `metrics.jsonl` has them behind `eval_`, and figures, on all processes.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  func figures(
    of examples: [TokenizedExample], batchSize: Int, share: EvaluationShare
  ) throws -> [(name: String, value: Double)]
}

extension LossModel {
  /// Numbers are always there.
  public var residency: BlockResidency? {
    get { nil }
    set {}
  }

  /// None.
  public var blocks: [any Module] { [] }

  /// Never, in models that have no such layers.
  public var usesFusedLayers: Bool {
    get { false }
    set {}
  }
}

extension DecoderForCausalLM: LossModel {
  /// What rows are filled up with.
  ///
  /// Padding is never seen, so that any token does.
  public var fillingID: Int32 { Int32(configuration.paddingID ?? 0) }

  /// The decoder's.
  public var checkpointsActivations: Bool {
    get { model.checkpointsActivations }
    set { model.checkpointsActivations = newValue }
  }

  /// The decoder's.
  public var usesFusedLayers: Bool {
    get { model.usesFusedLayers }
    set { model.usesFusedLayers = newValue }
  }

  /// The decoder's.
  public var residency: BlockResidency? {
    get { model.residency }
    set { model.residency = newValue }
  }

  /// The decoder's.
  public var blocks: [any Module] { model.blocks }

  /// Summed cross entropy of a batch.
  ///
  /// - Parameter batch: Rows with labels.
  /// - Returns: A scalar in float32.
  public func summedLoss(_ batch: TokenBatch) -> Tensor {
    summedLoss(batch.input(on: device), labels: batch.labelTensor(on: device))
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
