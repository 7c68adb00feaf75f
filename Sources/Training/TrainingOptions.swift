public import Datasets
public import Optimizers

/// How a run goes, apart from model, adapter and data.
public struct TrainingOptions: Equatable, Sendable {
  /// Rows of a micro-batch.
  public var batchSize = 4
  /// Micro-batches of one update.
  public var gradientAccumulation = 1
  /// Passes over the data.
  public var epochs = 3.0
  /// Updates of the whole run; nil for what the epochs give.
  public var maximumSteps: Int?
  /// Base learning rate.
  public var learningRate = 2e-4
  /// What changes the parameters.
  public var optimizer = OptimizerKind.adamW
  /// What the optimiser takes, weight decay among it.
  public var optimizerSettings = OptimizerKind.Settings()
  /// How the learning rate changes.
  public var schedule = LearningRateSchedule.linear
  /// A schedule that gives rates itself, in place of ``schedule``; nil for none.
  public var deepSpeedSchedule: DeepSpeedSchedule?
  /// Updates over which the learning rate rises; nil for `warmupRatio`.
  public var warmupSteps: Int?
  /// The same as a share of the run.
  public var warmupRatio = 0.0
  /// Longest joint length of gradients; nil for no limit.
  public var maximumGradientNorm: Double? = 1
  /// How losses are scaled for float16; nil for not.
  public var lossScaling: LossScaling?
  /// Whether several examples share a row.
  public var packs = false
  /// Longest packed row, in tokens.
  public var maximumLength = 1024
  /// Whether rows of similar length share a batch.
  public var groupsByLength = true
  /// Whether the order of the data changes from epoch to epoch.
  public var shuffles = true
  /// Start of the random numbers of order and dropout.
  public var seed: UInt64 = 42
  /// How tokens are hidden, for a model that learns to fill them in; nil for not.
  public var masking: TokenMasking?
  /// Whether activations are computed again in the backward pass.
  public var checkpointsActivations = false
  /// Whether layers of a block are computed together where they can be: faster, less memory, other last
  /// digits.
  public var usesFusedLayers = true
  /// Parts that each micro-batch is cut into, whatever the number of processes; nil for as many as those
  /// need.
  ///
  /// Gradients of parts are added in order, so that up to as many processes as an update has parts compute
  /// the same numbers to the last bit.
  public var orderedParts: Int?
  /// What processes share out of training (ZeRO): 1 the optimiser's state, 2 the gradients too, 3 the
  /// parameters too, which are whole for the passes of an update only; 0 for nothing.
  ///
  /// What is frozen is the model's own matter: see `ShardedBlocks`.
  public var zeroStage = 0
  /// Updates between two logged rows.
  public var logEvery = 10
  /// Updates between two evaluations; nil for one at the end of each epoch.
  public var evaluateEvery: Int?
  /// Updates between two checkpoints; nil for one at the end of each epoch.
  public var saveEvery: Int?
  /// Checkpoints that are kept, newest first.
  public var keptCheckpoints = 2
  /// Whether a LoRA whose start is taken from the base is written at the end as a plain LoRA; nil where
  /// PEFT could not find that start again.
  public var savesPlainLoRA: Bool?

  /// The update of a process's part of the run, counted from 1, of which a ``StepProfile`` is made; nil
  /// for none.
  public var profiledUpdate: Int?

  /// Makes the default options.
  public init() {}

  /// Checks every value.
  ///
  /// - Throws: ``TrainingError/option(name:expected:actual:)``.
  public func validate() throws(TrainingError) {
    let (many, most) = (1 << 24, 1 << 40)
    let counts: [(String, Int?, ClosedRange<Int>)] = [
      ("batch-size", batchSize, 1...many),
      ("gradient-accumulation", gradientAccumulation, 1...many),
      ("max-steps", maximumSteps, 1...most), ("log-every", logEvery, 1...most),
      ("eval-every", evaluateEvery, 1...most), ("save-every", saveEvery, 1...most),
      ("keep", keptCheckpoints, 1...most), ("max-length", maximumLength, 2...many),
      ("warmup-steps", warmupSteps, 0...most), ("deterministic", orderedParts, 1...many),
      ("zero", zeroStage, 0...3),
      ("profile", profiledUpdate, 1...most),
    ]
    for (name, value, range) in counts {
      if let value, !range.contains(value) {
        throw .option(name: name, expected: "a number in \(range)", actual: "\(value)")
      }
    }
    let numbers: [(String, Double, ClosedRange<Double>)] = [
      ("epochs", epochs, 1e-9...1e6), ("max-gradient-norm", maximumGradientNorm ?? 0, 0...1e30),
      ("learning-rate", learningRate, 0...1e6),
      ("weight-decay", optimizerSettings.weightDecay, 0...1e6),
      ("beta1", optimizerSettings.beta1 ?? 0, 0...(1.0).nextDown),
      ("beta2", optimizerSettings.beta2 ?? 0, 0...(1.0).nextDown),
      ("epsilon", optimizerSettings.epsilon ?? 1, 1e-30...1e6),
      ("warmup-ratio", warmupRatio, 0...1),
    ]
    for (name, value, range) in numbers where !range.contains(value) {
      throw .option(name: name, expected: "a number in \(range)", actual: "\(value)")
    }
  }
}
