public import Adapters
public import Datasets
import Models
import Tensors

/// Finds an adapter's start from the first batches of a run's data.
///
/// - Parameters:
///   - model: The model with the adapter, whose start depends on data.
///   - examples: Training data in the order of the file.
///   - options: How the run goes; its batch size and seed count.
///   - batches: How many batches at most, positive.
/// - Throws: `AdapterError` when the data or a layer's shape does not do.
public func calibrate<Base: LossModel>(
  _ model: PeftModel<Base>, _ examples: [TokenizedExample],
  options: TrainingOptions, batches: Int
) throws(AdapterError) {
  let base = model.base
  let sampler = BatchSampler(
    examples,
    options: BatchingOptions(
      batchSize: options.batchSize, seed: options.seed, masking: options.masking),
    paddingID: base.fillingID)
  try model.calibrate(
    sampler.plan(epoch: 0).prefix(batches).map { rows in
      let batch = sampler.batch(rows)
      let used = batch.rowLengths.map { length in
        (0..<batch.length).map { $0 < length ? Int64(1) : 0 }
      }
      return CalibrationBatch(
        positions: Tensor(used.flatMap { $0 }, shape: [batch.rowCount, batch.length])
          .to(device: base.device), labels: batch.labelTensor(on: base.device)
      ) { base.summedLoss(batch) / Double(max(1, batch.targetCount)) }
    })
}
