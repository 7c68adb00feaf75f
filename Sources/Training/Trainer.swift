import Adapters
import Checkpoints
public import Collectives
public import Datasets
import Distributed
import Foundation
public import JSONValues
import Layers
import Models
import Optimizers
import Tensors

/// How a run ended.
public enum TrainingOutcome: Equatable, Sendable {
  /// All steps were made; what was trained is in the run's directory.
  case finished(steps: Int, loss: Double)
  /// It was asked to stop; a checkpoint was written.
  case stopped(step: Int)
}

/// Trains an adapter or a whole model, on one process or on several that share each update.
///
/// Batch size and accumulation are those of an update, however many processes there are; see
/// ``SharedUpdate``.
public final class Trainer {
  let model: any TrainableModel
  let options: TrainingOptions
  /// The processes that share the run; nil for one.
  let processes: ProcessGroup?
  let exchange: DataParallel?
  /// What exchanges gradients of blocks while the backward pass goes on; at stage 3 `sharded` does.
  let passing: PassingBlocks?
  var sharded: ShardedOptimizer?
  private var lossScale: LossScale?
  private let sampler: BatchSampler
  private let beginning: BatchStream
  let evaluation: [TokenizedExample]
  let trained: [(key: String, parameter: Parameter)]
  /// Whether this process writes the run's files.
  private let writes: Bool
  private let directory: String
  private let recipe: JSON

  /// What each process kept and sent, in the order of ranks; known when the run is over.
  public internal(set) var shares: [ProcessShare] = []
  /// That of this process.
  var share = ProcessShare()
  /// Updates of the whole run.
  public let totalSteps: Int
  /// Updates of the warm-up.
  public let warmupSteps: Int
  /// Called once with the updates that an earlier process made, before the first one of this run.
  ///
  /// What was to be restored has been restored; an error ends the run before it writes anything.
  public var onStart: (_ step: Int) throws -> Void = { _ in }
  /// Called after each logged row.
  public var onStep: (StepReport) -> Void = { _ in }
  /// Called after each evaluation with step and figures, the mean loss first.
  public var onEvaluation: (_ step: Int, _ figures: [(name: String, value: Double)]) -> Void = {
    _, _ in
  }
  /// Measures the model on this process's share of the evaluation data, the mean loss first; nil for its
  /// own figures.
  public var measure:
    ((_ batchSize: Int, _ share: EvaluationShare) throws -> [(name: String, value: Double)])?
  /// Where curves go besides `metrics.jsonl`.
  public var tensorBoard: TensorBoardLog?
  /// Called with the profile that the options ask for.
  public var onProfile: (StepProfile) throws -> Void = { _ in }
  /// Asked after each update: whether to save a checkpoint and stop.
  public var shouldStop: () -> Bool = { false }

  /// Checks a run and prepares it; nothing is written before ``run(resuming:)``.
  ///
  /// - Parameters:
  ///   - model: The model with the adapter to train, or a model to train as a whole.
  ///   - examples: Training data in the order of the file.
  ///   - evaluation: Data to evaluate on, possibly empty.
  ///   - options: How the run goes.
  ///   - directory: The run's directory.
  ///   - recipe: Saved with every checkpoint, for those who go on with the run.
  ///   - processes: Those that share the run, each with the same model, data and options; nil for one.
  ///     Rank 0 writes, all but shares of the optimiser's state; the others read the same directory when
  ///     they go on with a run.
  /// - Throws: ``TrainingError`` for an option that cannot be, `AdapterError` when a schedule of the
  ///   adapter does not fit the number of updates.
  public init(
    model: any TrainableModel, examples: [TokenizedExample],
    evaluation: [TokenizedExample] = [],
    options: TrainingOptions, directory: String, recipe: JSON = [:],
    processes: ProcessGroup? = nil
  ) throws {
    try options.validate()
    try SharedUpdate.check(options, processes)
    self.processes = processes
    writes = processes?.rank ?? 0 == 0
    self.model = model
    self.options = options
    self.evaluation = evaluation
    self.directory = directory
    self.recipe = recipe
    sampler = BatchSampler(
      examples,
      options: BatchingOptions(
        batchSize: options.batchSize, shuffles: options.shuffles,
        groupsByLength: options.groupsByLength,
        packingLength: options.packs ? options.maximumLength : nil, seed: options.seed,
        masking: options.masking),
      paddingID: model.base.fillingID)
    trained = model.trainableParameters
    lossScale = options.lossScaling.map(LossScale.init)
    exchange = processes.map {
      DataParallel(
        model.trainableParameters.map(\.parameter), in: $0, isOrdered: options.orderedParts != nil,
        blocks: SharedUpdate.blocks(of: model), joinsBlocks: options.zeroStage < 3)
    }
    passing = options.zeroStage < 3 ? exchange.map(PassingBlocks.init) : nil
    beginning = BatchStream(
      sampler, accumulating: options.gradientAccumulation,
      cutInto: SharedUpdate.parts(options, processes))
    totalSteps =
      options.maximumSteps
      ?? max(1, Int((options.epochs * Double(beginning.groupsPerEpoch)).rounded(.up)))
    warmupSteps =
      options.warmupSteps
      ?? Int((options.warmupRatio * Double(min(totalSteps, 1 << 40))).rounded(.up))
    let base: any LossModel = model.base
    base.checkpointsActivations = options.checkpointsActivations
    try model.beginTraining(updates: totalSteps)
  }

  /// Runs to the end, or until `shouldStop`.
  ///
  /// A run that was killed before its first checkpoint starts over, with the same numbers.
  ///
  /// - Parameter resuming: Whether to go on from the run's newest checkpoint.
  /// - Returns: How it ended.
  /// - Throws: ``TrainingError``, `CheckpointError` and others of reading and writing, also when a
  ///   paged optimiser finds no room in the run's directory; `CollectiveError` when another process is
  ///   gone, stopped or does something else.
  public func run(resuming: Bool) throws -> TrainingOutcome {
    try Runtime.withFastProducts { try takeSteps(resuming: resuming) }
  }

  private func takeSteps(resuming: Bool) throws -> TrainingOutcome {
    try makeDirectory(directory)
    let optimizer = try makeOptimizer()
    var position = TrainingCheckpoint.Position()
    var stream = beginning
    if resuming, let checkpoint = TrainingCheckpoint.latest(run: directory) {
      position = try checkpoint.restore(model: model, optimizer: optimizer)
      if let saved = position.lossScale { lossScale?.restore(saved) }
      if let data = position.data {
        stream = try BatchStream(
          sampler, accumulating: options.gradientAccumulation,
          cutInto: SharedUpdate.parts(options, processes), from: data)
      }
    }
    try agree(on: position.step, order: stream.position.order)
    try exchange?.shareParameters()
    shardParameters()
    try onStart(position.step)
    let log =
      writes
      ? try MetricsLog(path: directory + "/metrics.jsonl", keepingStepsTo: position.step) : nil
    var meter = Meter(position, totalSteps: totalSteps)
    model.isTraining = true
    let base: any LossModel = model.base
    base.usesFusedLayers = options.usesFusedLayers
    defer {
      model.isTraining = false
      base.usesFusedLayers = false
    }

    let begun = position.step
    /// The next group and what its update gave; nil at the end of the data.
    func advance() throws -> (BatchGroup, rate: Double, loss: Double, norm: Double, asked: Bool)? {
      guard let group = withScope(.phase, StepProfile.Phase.data.rawValue, { stream.next() })
      else { return nil }
      let rate = learningRate(step: position.step)
      let (loss, norm, asked) = try update(
        group, optimizer, learningRate: rate, step: position.step + 1)
      return (group, rate, loss, norm, asked)
    }
    while position.step < totalSteps,
      let (group, rate, loss, norm, asked) = try options.profiledUpdate == position.step - begun + 1
        ? profiled(position.step + 1, advance) : advance()
    {
      position.step += 1
      meter.add(loss: loss, tokens: group.tokenCount)
      let isLast = position.step == totalSteps
      func isDue(_ every: Int?) -> Bool {
        isLast || (every.map { position.step % $0 == 0 } ?? group.endsEpoch)
      }
      if isDue(options.logEvery) {
        let report = meter.report(
          step: position.step, epoch: stream.epoch, learningRate: rate, gradientNorm: norm)
        try log?.append(report.row)
        try tensorBoard?.append(
          step: report.step,
          [
            ("train/loss", report.loss), ("train/learning_rate", rate),
            ("train/gradient_norm", norm), ("train/tokens_per_second", report.tokensPerSecond),
          ])
        onStep(report)
      }
      if !evaluation.isEmpty, isDue(options.evaluateEvery) {
        try evaluate(position.step, log)
      }
      // Several processes have to stop at the same step.
      let stops = !isLast && (processes == nil ? shouldStop() : asked)
      if stops || isDue(options.saveEvery) {
        position.data = stream.position
        position.tokens = meter.tokens
        position.pendingLosses = meter.losses
        position.lastLoss = meter.lastLoss
        position.lossScale = lossScale?.json
        try withWholeModel {
          guard writes || sharded != nil else { return }
          try TrainingCheckpoint.save(
            run: directory, position: position, model: model, optimizer: optimizer, recipe: recipe,
            keep: options.keptCheckpoints)
        }
      }
      if stops { return .stopped(step: position.step) }
    }
    try noteShares(optimizer)
    try withWholeModel {
      if writes { try model.write(to: directory, asPlainLoRA: options.savesPlainLoRA) }
    }
    // The model is the caller's again.
    try sharded?.gatherParameters()
    model.base.residency?.trained = nil
    return .finished(steps: position.step, loss: meter.lastLoss)
  }

  /// Mean loss for each target of the evaluation data.
  ///
  /// - Returns: The loss; its exponential is the perplexity.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func evaluationLoss() throws -> Double {
    try meanLoss(model.base, evaluation, batchSize: options.batchSize, share: evaluationShare)
  }

  /// Makes an update and its profile.
  private func profiled<Result>(_ step: Int, _ update: () throws -> Result) throws -> Result {
    let (result, recording) = try recorded {
      try withScope(.phase, StepProfile.Phase.step.rawValue) { try update() }
    }
    var profile = StepProfile(step: step, recording)
    profile.exchange = exchange?.overlap
    try onProfile(profile)
    return result
  }

  private func learningRate(step: Int) -> Double {
    let step = step - (lossScale?.skipped ?? 0)
    if let schedule = options.deepSpeedSchedule {
      return schedule.rate(
        step: step,
        in: DeepSpeedSchedule.Run(
          baseRate: options.learningRate, warmupSteps: warmupSteps, totalSteps: totalSteps))
    }
    return options.learningRate
      * options.schedule.factor(
        step: step, warmupSteps: warmupSteps, totalSteps: totalSteps,
        baseRate: options.learningRate)
  }

  /// One update.
  ///
  /// Each target counts the same, in whichever micro-batch it stands.
  private func update(
    _ group: BatchGroup, _ optimizer: any Optimizer, learningRate: Double, step: Int
  ) throws -> (loss: Double, gradientNorm: Double, stops: Bool) {
    let targets = Double(max(1, group.targetCount))
    let before = processes?.traffic.purposes ?? [:]
    defer { noteSent(since: before) }
    func compute(_ part: Int) -> Double {
      prepareDraws(step: step, part: part)
      var value = 0.0
      let loss = withScope(.phase, StepProfile.Phase.forward.rawValue) {
        let loss = model.base.summedLoss(group.batches[part]) / targets
        value = loss.item()
        // As in PEFT, a penalty is part of each micro-batch's loss, which is divided by their number (but
        // transformers' trainer, where it divides by the targets of all, counts it once for each).
        return model.penalty().map { loss + $0 / Double(group.batches.count) } ?? loss
      }
      withScope(.phase, StepProfile.Phase.backward.rawValue) {
        if loss.requiresGradient { backward(loss) }
      }
      model.base.residency?.end()
      return value
    }
    let parts = group.batches.count
    try sharded?.gatherOutside()
    let update = try watchingPasses {
      let update =
        try sharded?.gradients(parts: parts, stops: shouldStop(), compute: compute)
        ?? exchange?.gradients(parts: parts, stops: shouldStop(), compute: compute)
        ?? DataParallel.Update(values: (0..<parts).map(compute), stops: false)
      try model.base.residency?.check()
      return update
    }
    noteGradients()
    let total = update.values.reduce(0, +)
    guard total.isFinite else { throw TrainingError.diverged(step: step, loss: total) }
    let norm = try withScope(.phase, StepProfile.Phase.clipping.rawValue) { try clip() }
    if let isGood = lossScale?.update(isFinite: norm.isFinite) {
      guard isGood else { throw TrainingError.diverged(step: step, gradientNorm: norm) }
      if !norm.isFinite {
        optimizer.zeroGradients()
        return (total, norm, update.stops)
      }
    }
    guard norm.isFinite else { throw TrainingError.diverged(step: step, gradientNorm: norm) }
    try withScope(.phase, StepProfile.Phase.optimizer.rawValue) {
      optimizer.step(learningRate: learningRate)
      try sharded?.shareParameters()
      prepareDraws(step: step, part: parts)
      if let sharded, model.actsBetweenUpdates {
        try sharded.withWholeUpdate { model.didStep(step, of: totalSteps) }
      } else {
        model.didStep(step, of: totalSteps)
      }
      optimizer.zeroGradients()
    }
    return (total, norm, update.stops)
  }

  /// Adds the derivatives of a loss to the gradients.
  ///
  /// With a scale the loss is multiplied by it, and what is trained, in float32, is divided by it at once:
  /// powers of 2 change no digit.
  private func backward(_ loss: Tensor) {
    guard let factor = lossScale?.factor else { return loss.backward() }
    func multiply(_ factor: Double) {
      withoutGradients {
        for (_, parameter) in trained { parameter.value.gradient?.multiplyInPlace(factor) }
      }
    }
    multiply(factor)
    exchange?.passFactor = 1 / factor
    (loss * factor).backward()
    exchange?.passFactor = 1
    multiply(1 / factor)
  }

  /// The optimiser, or this process's share of it.
  private func makeOptimizer() throws -> any Optimizer {
    let named = trained.map { (name: $0.key, parameter: $0.parameter) }
    guard options.zeroStage > 0, let exchange, processes?.size ?? 1 > 1 else {
      return try options.optimizer.make(
        named, options.optimizerSettings, stateDirectory: directory)
    }
    let made = try ShardedOptimizer(
      stage: options.zeroStage, names: named.map(\.name), exchange
    ) { slices, whole in
      try options.optimizer.make(
        slices, options.optimizerSettings, stateDirectory: directory, partsOf: whole)
    }
    sharded = made
    return made
  }

  /// Clips the gradients and measures them.
  private func clip() throws -> Double {
    if let sharded { return try sharded.clip(maximumNorm: options.maximumGradientNorm) }
    let parameters = trained.map(\.parameter)
    // Sharing out must not change the order of the sum.
    return options.orderedParts == nil
      ? clipGradients(parameters, maximumNorm: options.maximumGradientNorm)
      : GradientNorm.clip(parameters, maximumNorm: options.maximumGradientNorm)
  }
}
