public import Collectives
import Foundation
import Layers
import Optimizers
import Tensors

/// What a training loop of one's own needs to run on one process or on many, in the words of Hugging
/// Face's Accelerate.
///
/// ```swift
/// let accelerator = try Accelerator(gradientAccumulation: 2)
/// let optimizer = try accelerator.prepare(AdamW(parameters, .init()), parameters)
/// for part in accelerator.parts(of: sampler, epoch: 0) {
///   try accelerator.accumulate(isLast: part.isLast) {
///     if let batch = part.batch {
///       accelerator.backward(model.summedLoss(batch), weight: Double(batch.targetCount))
///     }
///     try accelerator.clipGradients(maximumNorm: 1)
///     try optimizer.step(learningRate: 1e-3)
///     optimizer.zeroGradients()
///   }
/// }
/// try accelerator.end()
/// ```
///
/// What differs, so that the number of processes does not change the result:
///
/// - A batch of the sampler is the batch of all processes; each computes some of its rows, and none of
///   them twice.
/// - Losses are sums. The gradients of an update are divided by the weights of all its batches on all
///   processes, also where the last update of an epoch has fewer batches.
/// - Schedules are asked for the number of ``updateCount``, which counts updates.
/// - Variables that ask for several processes and do not say all are an error.
///
/// All processes have to call what exchanges something, which is what `throws` here; a process that is
/// gone or does something else is a `CollectiveError` on all others.
public final class Accelerator {
  /// How numbers are computed.
  public enum MixedPrecision: Equatable, Sendable {
    /// In the model's type.
    case none
    /// In a model of float16: losses are multiplied before their derivatives are taken, and an update
    /// whose gradients overflow is left out.
    case float16(LossScaler)
  }

  /// The other processes; nil where this is the only one.
  public let processes: ProcessGroup?
  /// Batches of one update.
  public let gradientAccumulation: Int
  /// What loss scaling has come to; nil without.
  public internal(set) var scaler: LossScaler?
  /// Whether this batch ends an update.
  public internal(set) var synchronizesGradients = false
  /// Whether the last step was left out because gradients were not finite.
  public internal(set) var stepWasSkipped = false
  /// Updates that were made, without those that were left out.
  public internal(set) var updateCount = 0

  var batchCount = 0
  var weight = 0.0
  var isExchanged = false
  var exchange: DataParallel?
  var trained: [(name: String, parameter: Parameter)] = []
  var optimizer: (any Optimizer)?

  /// Finds the processes of the run by the environment's variables; see `World`.
  ///
  /// - Parameters:
  ///   - gradientAccumulation: Batches of one update, positive.
  ///   - mixedPrecision: Whether losses are scaled.
  /// - Throws: `CollectiveError` when processes are asked for and not found.
  public convenience init(
    gradientAccumulation: Int = 1, mixedPrecision: MixedPrecision = .none
  ) throws(CollectiveError) {
    let world = try World.detect(ProcessInfo.processInfo.environment)
    var group: ProcessGroup?
    if let world { group = try ProcessGroup.join(world) }
    self.init(
      processes: group, gradientAccumulation: gradientAccumulation, mixedPrecision: mixedPrecision)
  }

  /// Takes processes that have found each other.
  ///
  /// - Parameters:
  ///   - processes: The processes; nil for this one alone.
  ///   - gradientAccumulation: Batches of one update, positive.
  ///   - mixedPrecision: Whether losses are scaled.
  public init(
    processes: ProcessGroup?, gradientAccumulation: Int = 1, mixedPrecision: MixedPrecision = .none
  ) {
    precondition(
      gradientAccumulation > 0, "Accelerator: \(gradientAccumulation) batches of an update")
    self.processes = processes
    self.gradientAccumulation = gradientAccumulation
    if case .float16(let scaler) = mixedPrecision { self.scaler = scaler }
  }

  /// Number of this process, from 0.
  public var processIndex: Int { processes?.rank ?? 0 }
  /// Processes of the run.
  public var processCount: Int { processes?.size ?? 1 }
  /// Number of this process on its machine, from 0.
  public var localProcessIndex: Int { processes?.world.localRank ?? 0 }
  /// Whether this is rank 0, which writes files.
  public var isMainProcess: Bool { processIndex == 0 }
  /// Whether this is the first process of its machine.
  public var isLocalMainProcess: Bool { localProcessIndex == 0 }

  /// Waits until all processes are here.
  ///
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func waitForEveryone() throws(CollectiveError) {
    try processes?.barrier("waiting for everyone")
  }

  /// Runs something on rank 0 first and then on all others, for example what fills a cache.
  ///
  /// - Parameter body: What to run.
  /// - Returns: What it returns.
  /// - Throws: What `body` throws, and `CollectiveError` when another process is gone, also because its
  ///   `body` threw and it ended.
  public func mainProcessFirst<Result>(_ body: () throws -> Result) throws -> Result {
    if isMainProcess {
      let result = try body()
      try processes?.barrier("main process first")
      return result
    }
    try processes?.barrier("main process first")
    return try body()
  }

  /// Whether any process says so: how all of them stop together.
  ///
  /// - Parameter isSet: What this process says.
  /// - Returns: The same on all.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func anyProcess(_ isSet: Bool) throws(CollectiveError) -> Bool {
    try processes?.allGather([isSet ? 1 : 0], "trigger").contains { $0[0] != 0 } ?? isSet
  }

  /// Leaves the other processes, once all are done.
  ///
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func end() throws(CollectiveError) { try processes?.leave() }

  /// Tells the others that this process ends by an error.
  ///
  /// - Parameter error: What ends it.
  public func abandon(because error: any Error) { processes?.abandon(because: error) }
}
