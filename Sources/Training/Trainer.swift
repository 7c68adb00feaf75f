public import Adapters
import Checkpoints
public import Datasets
import Foundation
public import JSONValues
import Layers
public import Models
import Optimizers
import Tensors

/// One logged row of a run.
public struct StepReport: Sendable {
  /// Updates made.
  public let step: Int
  /// Updates of the whole run.
  public let totalSteps: Int
  /// Passes over the data, with a fraction.
  public let epoch: Double
  /// Mean loss for each target since the last row.
  public let loss: Double
  /// Learning rate of the last update.
  public let learningRate: Double
  /// Joint length of the gradients of the last update, before clipping.
  public let gradientNorm: Double
  /// Tokens since the start, without padding.
  public let tokens: Int
  /// Tokens a second since the last row.
  public let tokensPerSecond: Double
  /// Seconds since the start of this process's part of the run.
  public let seconds: Double
}

/// How a run ended.
public enum TrainingOutcome: Equatable, Sendable {
  /// All steps were made; the adapter is in the run's directory.
  case finished(steps: Int, loss: Double)
  /// It was asked to stop; a checkpoint was written.
  case stopped(step: Int)
}

/// Trains an adapter.
public final class Trainer {
  private let model: PeftModel
  private let options: TrainingOptions
  private let sampler: BatchSampler
  private let evaluation: [TokenizedExample]
  private let optimizer: AdamW
  private let parameters: [(key: String, parameter: Parameter)]
  private let directory: String
  private let recipe: JSON
  private let dataFingerprint: String
  private let paddingID: Int32
  private let groupsPerEpoch: Int

  /// Updates of the whole run.
  public let totalSteps: Int
  /// Updates of the warm-up.
  public let warmupSteps: Int
  /// Called after each logged row.
  public var onStep: (StepReport) -> Void = { _ in }
  /// Called after each evaluation with step and mean loss.
  public var onEvaluation: (_ step: Int, _ loss: Double) -> Void = { _, _ in }
  /// Asked after each update: whether to save a checkpoint and stop.
  public var shouldStop: () -> Bool = { false }

  /// Prepares a run.
  ///
  /// - Parameters:
  ///   - model: The model with the adapter to train.
  ///   - examples: Training data in the order of the file.
  ///   - evaluation: Data to evaluate on, possibly empty.
  ///   - options: How the run goes.
  ///   - directory: The run's directory.
  ///   - recipe: Saved with every checkpoint.
  /// - Throws: ``TrainingError`` for an option that cannot be.
  public init(
    model: PeftModel, examples: [TokenizedExample], evaluation: [TokenizedExample] = [],
    options: TrainingOptions, directory: String, recipe: JSON
  ) throws(TrainingError) {
    try options.validate()
    self.model = model
    self.options = options
    self.evaluation = evaluation
    self.directory = directory
    self.recipe = recipe
    paddingID = Int32(model.base.configuration.paddingID ?? 0)
    sampler = BatchSampler(
      examples,
      options: BatchingOptions(
        batchSize: options.batchSize, shuffles: options.shuffles,
        groupsByLength: options.groupsByLength,
        packingLength: options.packs ? options.maximumLength : nil, seed: options.seed),
      paddingID: paddingID)
    dataFingerprint = fingerprint(of: examples)
    parameters = model.trainableParameters
    optimizer = AdamW(
      parameters.map { ($0.key, $0.parameter) },
      AdamWConfiguration(weightDecay: options.weightDecay))
    let batches = sampler.plan(epoch: 0).count
    groupsPerEpoch = (batches + options.gradientAccumulation - 1) / options.gradientAccumulation
    totalSteps =
      options.maximumSteps ?? max(1, Int((options.epochs * Double(groupsPerEpoch)).rounded(.up)))
    warmupSteps =
      options.warmupSteps ?? Int((options.warmupRatio * Double(totalSteps)).rounded(.up))
    model.base.model.checkpointsActivations = options.checkpointsActivations
  }

  /// Runs to the end, or until `shouldStop`.
  ///
  /// - Parameter resuming: Whether to go on from the run's newest checkpoint.
  /// - Returns: How it ended.
  /// - Throws: ``TrainingError``, `CheckpointError` and others of reading and writing.
  public func run(resuming: Bool) throws -> TrainingOutcome {
    var position = TrainingCheckpoint.Position()
    if resuming {
      guard let checkpoint = TrainingCheckpoint.latest(run: directory) else {
        throw TrainingError.resume(path: directory, reason: "it has no checkpoint")
      }
      position = try checkpoint.restore(
        model: model, optimizer: optimizer, dataFingerprint: dataFingerprint)
    }
    let log = try MetricsLog(path: directory + "/metrics.jsonl", keepingStepsTo: position.step)
    var meter = Meter(tokens: position.tokens, losses: position.pendingLosses)
    model.context.isTraining = true
    defer { model.context.isTraining = false }

    while position.step < totalSteps {
      let plan = sampler.plan(epoch: position.epoch)
      while position.batch < plan.count, position.step < totalSteps {
        let end = min(position.batch + options.gradientAccumulation, plan.count)
        let batches = plan[position.batch..<end].map(sampler.batch)
        let rate =
          options.learningRate
          * options.schedule.factor(
            step: position.step, warmupSteps: warmupSteps, totalSteps: totalSteps)
        let (loss, norm) = try update(batches, learningRate: rate, step: position.step + 1)
        position.step += 1
        position.batch = end
        meter.add(loss: loss, tokens: batches.reduce(0) { $0 + $1.tokenCount })
        let isLast = position.step == totalSteps
        let endsEpoch = position.batch == plan.count
        if position.step % options.logEvery == 0 || isLast {
          let report = meter.report(
            position.step, totalSteps,
            epoch: Double(position.epoch) + Double(position.batch) / Double(plan.count),
            learningRate: rate, gradientNorm: norm)
          try log.append(row(report))
          onStep(report)
        }
        if !evaluation.isEmpty,
          isLast || (options.evaluateEvery.map { position.step % $0 == 0 } ?? endsEpoch)
        {
          try evaluate(position.step, log)
        }
        if !isLast && endsEpoch {
          position.epoch += 1
          position.batch = 0
        }
        let stops = !isLast && shouldStop()
        if stops || isLast
          || (options.saveEvery.map { position.step % $0 == 0 } ?? endsEpoch)
        {
          position.tokens = meter.tokens
          position.pendingLosses = meter.losses
          try save(position)
        }
        if stops { return .stopped(step: position.step) }
        if endsEpoch { break }
      }
    }
    try model.savePretrained(directory)
    return .finished(steps: position.step, loss: meter.lastLoss)
  }

  /// Mean loss for each target of the evaluation data.
  ///
  /// - Returns: The loss; its exponential is the perplexity.
  public func evaluationLoss() -> Double {
    Trainer.meanLoss(
      model.base, evaluation, batchSize: options.batchSize, paddingID: paddingID)
  }

  /// Mean loss for each target of some examples.
  ///
  /// - Parameters:
  ///   - model: The model, with adapters or without.
  ///   - examples: The data.
  ///   - batchSize: Rows of a batch.
  ///   - paddingID: Fills rows up.
  /// - Returns: The loss.
  public static func meanLoss(
    _ model: DecoderForCausalLM, _ examples: [TokenizedExample], batchSize: Int, paddingID: Int32
  ) -> Double {
    let sampler = BatchSampler(
      examples, options: BatchingOptions(batchSize: batchSize, shuffles: false),
      paddingID: paddingID)
    var (sum, count) = (0.0, 0)
    withoutGradients {
      for rows in sampler.plan(epoch: 0) {
        let batch = sampler.batch(rows)
        sum += model.summedLoss(
          batch.input(on: model.device), labels: batch.labelTensor(on: model.device)
        ).item()
        count += batch.targetCount
      }
    }
    return sum / Double(max(count, 1))
  }

  /// One update.
  ///
  /// Each target counts the same, in whichever micro-batch it stands.
  private func update(
    _ batches: [TokenBatch], learningRate: Double, step: Int
  ) throws -> (loss: Double, gradientNorm: Double) {
    let targets = Double(max(1, batches.reduce(0) { $0 + $1.targetCount }))
    var total = 0.0
    for batch in batches {
      let device = model.base.device
      let loss =
        model.base.summedLoss(batch.input(on: device), labels: batch.labelTensor(on: device))
        / targets
      total += loss.item()
      if loss.requiresGradient { loss.backward() }
    }
    guard total.isFinite else { throw TrainingError.diverged(step: step, loss: total) }
    let norm = clipGradients(
      parameters.map(\.parameter), maximumNorm: options.maximumGradientNorm)
    optimizer.step(learningRate: learningRate)
    optimizer.zeroGradients()
    return (total, norm)
  }

  private func evaluate(_ step: Int, _ log: MetricsLog) throws {
    model.context.isTraining = false
    defer { model.context.isTraining = true }
    let loss = evaluationLoss()
    try log.append([
      "step": .integer(step), "eval_loss": .number(loss), "eval_perplexity": .number(exp(loss)),
    ])
    onEvaluation(step, loss)
  }

  private func save(_ position: TrainingCheckpoint.Position) throws {
    try TrainingCheckpoint.save(
      run: directory, position: position, model: model, optimizer: optimizer,
      dataFingerprint: dataFingerprint, recipe: recipe, keep: options.keptCheckpoints)
  }

  private func row(_ report: StepReport) -> JSON {
    [
      "step": .integer(report.step), "epoch": .number(report.epoch), "loss": .number(report.loss),
      "learning_rate": .number(report.learningRate),
      "gradient_norm": .number(report.gradientNorm), "tokens": .integer(report.tokens),
      "tokens_per_second": .number(report.tokensPerSecond), "seconds": .number(report.seconds),
      "peak_memory_bytes": .integer(PeakMemory.bytes),
    ]
  }
}

/// Means and rates between logged rows.
private struct Meter {
  private let start = Date()
  private var lastReport = Date()
  private(set) var tokens: Int
  private var newTokens = 0
  private(set) var losses: [Double]
  private(set) var lastLoss = 0.0

  init(tokens: Int, losses: [Double]) {
    self.tokens = tokens
    self.losses = losses
  }

  mutating func add(loss: Double, tokens added: Int) {
    losses.append(loss)
    tokens += added
    newTokens += added
  }

  mutating func report(
    _ step: Int, _ total: Int, epoch: Double, learningRate: Double, gradientNorm: Double
  ) -> StepReport {
    let now = Date()
    lastLoss = losses.reduce(0, +) / Double(max(losses.count, 1))
    let report = StepReport(
      step: step, totalSteps: total, epoch: epoch, loss: lastLoss, learningRate: learningRate,
      gradientNorm: gradientNorm, tokens: tokens,
      tokensPerSecond: Double(newTokens) / max(now.timeIntervalSince(lastReport), 1e-9),
      seconds: now.timeIntervalSince(start))
    losses = []
    newTokens = 0
    lastReport = now
    return report
  }
}
