public import Datasets
import Foundation
import Layers
public import Models
public import Tensors

/// A model that computes the loss of batches of token ids, with adapters or without.
public protocol LossModel: AdaptableModel {
  /// Where the weights live.
  var device: Device { get }
  /// What rows are filled up with.
  var fillingID: Int32 { get }
  /// Whether blocks are computed again in the backward pass instead of being kept.
  var checkpointsActivations: Bool { get set }

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
  /// - Returns: Names, as `metrics.jsonl` has them behind `eval_`, and figures.
  func figures(
    of examples: [TokenizedExample], batchSize: Int
  ) -> [(name: String, value: Double)]
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
  /// - Returns: Both.
  public func figures(
    of examples: [TokenizedExample], batchSize: Int
  ) -> [(name: String, value: Double)] {
    let loss = meanLoss(self, examples, batchSize: batchSize)
    return [("loss", loss), ("perplexity", exp(loss))]
  }
}

extension TaskModel: LossModel {
  /// What rows are filled up with; a mask hides it.
  public var fillingID: Int32 { Int32(paddingID ?? 0) }

  /// Summed loss of a batch of rows that are asked as a whole.
  ///
  /// - Parameter batch: Rows with targets.
  /// - Returns: A scalar in float32.
  public func summedLoss(_ batch: TokenBatch) -> Tensor {
    summedLoss(batch.taskInput(on: device), labels: taskLabels(of: batch)).sum
  }

  /// Loss, and how right the model is: see ``ClassificationFigures``.
  ///
  /// - Parameters:
  ///   - examples: The data.
  ///   - batchSize: Rows of a batch.
  /// - Returns: Names and figures.
  public func figures(
    of examples: [TokenizedExample], batchSize: Int
  ) -> [(name: String, value: Double)] {
    let results = results(of: examples, batchSize: batchSize)
    return [("loss", results.loss)] + results.figures.all
  }

  /// Loss, outputs and figures of examples, from one pass over them.
  ///
  /// - Parameters:
  ///   - examples: Rows with targets.
  ///   - batchSize: Rows of a batch.
  /// - Returns: The mean loss, one list of outputs for each example in their order, and how right they
  ///   are.
  public func results(
    of examples: [TokenizedExample], batchSize: Int
  ) -> (loss: Double, scores: [[Double]], figures: ClassificationFigures) {
    let sampler = BatchSampler(
      examples, options: BatchingOptions(batchSize: batchSize, shuffles: false),
      paddingID: fillingID)
    var scores = Array(repeating: [Double](), count: examples.count)
    var (sum, count) = (0.0, 0)
    withoutGradients {
      for rows in sampler.plan(epoch: 0) {
        let batch = sampler.batch(rows)
        let found = self(batch.taskInput(on: device))
        sum += summedLoss(ofRows: found, labels: taskLabels(of: batch)).sum.item()
        count += batch.targetCount
        let numbers = found.to(.float32)
        for (place, row) in rows.enumerated() {
          scores[row[0]] = numbers.selected(0, place).array(of: Float.self).map(Double.init)
        }
      }
    }
    let figures = ClassificationFigures(
      scores: scores, targets: examples.map { $0.target ?? [] }, problem: problem(of: examples))
    return (sum / Double(max(count, 1)), scores, figures)
  }

  /// How the outputs are meant for some examples.
  ///
  /// - Parameter examples: Rows with targets.
  /// - Returns: What the labels say; else by the number of outputs and targets.
  public func problem(of examples: [TokenizedExample]) -> ProblemType {
    problem(targetCount: examples.first?.target?.count ?? 1)
  }

  private func problem(targetCount: Int) -> ProblemType {
    if let problem = labels?.problem { return problem }
    let outputs = labels?.names.count ?? 1
    return outputs == 1 ? .regression : targetCount == 1 ? .singleLabel : .multiLabel
  }

  private func taskLabels(of batch: TokenBatch) -> TaskLabels {
    let targets = batch.targets ?? []
    let width = targets.first?.count ?? 1
    let numbers = Tensor(targets.flatMap { $0 }, shape: [targets.count, width])
    return problem(targetCount: width) == .singleLabel
      ? .classes(numbers.reshaped([-1]).to(.int64).to(device: device))
      : .values(numbers.to(.float32).to(device: device))
  }
}

extension TokenBatch {
  /// The batch for a model with the head of a task, which sees padding unless a mask hides it.
  func taskInput(on device: Device) -> TaskInput {
    func tensor(_ values: [Int32]) -> Tensor {
      Tensor(values, shape: [rowCount, length]).to(.int64).to(device: device)
    }
    let mask: [Int32]? =
      rowLengths.contains { $0 < length }
      ? rowLengths.flatMap { used in (0..<length).map { $0 < used ? 1 : 0 } } : nil
    return TaskInput(
      ids: tensor(ids), mask: mask.map(tensor), tokenTypes: tokenTypes.map(tensor),
      taskIDs: tasks.map { Tensor($0, shape: [rowCount]).to(device: device) })
  }
}
