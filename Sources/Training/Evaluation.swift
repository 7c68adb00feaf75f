public import Datasets
import Tensors

/// Mean loss for each target of some examples; its exponential is the perplexity.
///
/// - Parameters:
///   - model: The model, with adapters or without.
///   - examples: The data.
///   - batchSize: Rows of a batch.
///   - share: The batches of this process.
/// - Returns: The loss in nats, on all processes; zero without a target.
/// - Throws: `CollectiveError` when another process is gone or does something else.
public func meanLoss(
  _ model: any LossModel, _ examples: [TokenizedExample], batchSize: Int,
  share: EvaluationShare = EvaluationShare()
) throws -> Double {
  let sampler = BatchSampler(
    examples, options: BatchingOptions(batchSize: batchSize, shuffles: false),
    paddingID: model.fillingID)
  return try Runtime.withFastProducts {
    try withoutGradients {
      let plan = sampler.plan(epoch: 0)
      let found = try share.map(plan.count) { number in
        let batch = sampler.batch(plan[number])
        return [model.summedLoss(batch).item(), Double(batch.targetCount)]
      }
      return found.reduce(0) { $0 + $1[0] } / max(found.reduce(0) { $0 + $1[1] }, 1)
    }
  }
}
