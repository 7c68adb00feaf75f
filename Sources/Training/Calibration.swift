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
      var batch = sampler.batch(rows)
      if batch.length == batch.decoderLength {
        // Layers are known by how many positions they read.
        batch = TokenBatch(
          rows: rows.map { $0.map { examples[$0] } }, paddingID: base.fillingID,
          minimumLength: batch.length + 1)
      }
      func shown(_ flags: [Bool], _ length: Int) -> Tensor {
        Tensor(flags.map { $0 ? Int64(1) : 0 }, shape: [batch.rowCount, length])
          .to(device: base.device)
      }
      let positions = shown(
        batch.rowLengths.flatMap { used in (0..<batch.length).map { $0 < used } }, batch.length)
      let written = batch.decoderLabels.map {
        shown($0.map { $0 != ignoredLabelID }, batch.decoderLength)
      }
      return CalibrationBatch(
        positions: positions,
        labels: written == nil ? batch.labelTensor(on: base.device) : nil,
        decoderPositions: written
      ) { [batch] in base.summedLoss(batch) / Double(max(1, batch.targetCount)) }
    })
}
