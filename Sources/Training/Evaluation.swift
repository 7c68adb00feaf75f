public import Datasets
import Tensors

/// Mean loss for each target of some examples; its exponential is the perplexity.
///
/// - Parameters:
///   - model: The model, with adapters or without.
///   - examples: The data.
///   - batchSize: Rows of a batch.
/// - Returns: The loss in nats; zero without a target.
public func meanLoss(
  _ model: any LossModel, _ examples: [TokenizedExample], batchSize: Int
) -> Double {
  let sampler = BatchSampler(
    examples, options: BatchingOptions(batchSize: batchSize, shuffles: false),
    paddingID: model.fillingID)
  var (sum, count) = (0.0, 0)
  Runtime.withFastProducts {
    withoutGradients {
      for rows in sampler.plan(epoch: 0) {
        let batch = sampler.batch(rows)
        sum += model.summedLoss(batch).item()
        count += batch.targetCount
      }
    }
  }
  return sum / Double(max(count, 1))
}
