public import Datasets
public import Models
import Tensors

/// Mean loss for each target of some examples; its exponential is the perplexity.
///
/// - Parameters:
///   - model: The model, with adapters or without.
///   - examples: The data.
///   - batchSize: Rows of a batch.
/// - Returns: The loss in nats; zero without a target.
public func meanLoss(
  _ model: DecoderForCausalLM, _ examples: [TokenizedExample], batchSize: Int
) -> Double {
  let sampler = BatchSampler(
    examples, options: BatchingOptions(batchSize: batchSize, shuffles: false),
    paddingID: model.paddingID)
  var (sum, count) = (0.0, 0)
  withoutGradients {
    for rows in sampler.plan(epoch: 0) {
      let batch = sampler.batch(rows)
      sum += model.summedLoss(batch).item()
      count += batch.targetCount
    }
  }
  return sum / Double(max(count, 1))
}

extension DecoderForCausalLM {
  /// What rows are filled up with.
  ///
  /// Padding is never seen, so that any token does.
  var paddingID: Int32 { Int32(configuration.paddingID ?? 0) }

  /// Summed cross entropy of a batch, a scalar.
  func summedLoss(_ batch: TokenBatch) -> Tensor {
    summedLoss(batch.input(on: device), labels: batch.labelTensor(on: device))
  }
}
