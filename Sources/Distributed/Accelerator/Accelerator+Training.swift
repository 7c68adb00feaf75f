public import Collectives
public import Layers
public import Optimizers
public import Tensors

extension Accelerator {
  /// Takes what is trained: every process gets rank 0's numbers.
  ///
  /// - Parameters:
  ///   - optimizer: Changes the parameters; every process has one of its own.
  ///   - parameters: What is trained, the same on all processes, with names for the saved state.
  /// - Returns: The optimiser to use instead.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func prepare(
    _ optimizer: any Optimizer, _ parameters: [(name: String, parameter: Parameter)]
  ) throws(CollectiveError) -> AcceleratedOptimizer {
    trained = parameters
    self.optimizer = optimizer
    exchange = processes.map { DataParallel(parameters.map(\.parameter), in: $0, isOrdered: false) }
    try exchange?.shareParameters()
    return AcceleratedOptimizer(self, optimizer)
  }

  /// Runs the work on one batch; after so many as an update has, or the last one, gradients are exchanged.
  ///
  /// Between them nothing is sent, and the steps of the prepared optimiser do nothing.
  ///
  /// - Parameters:
  ///   - isLast: Whether it is the last batch of an epoch, which ends an update too.
  ///   - body: The work, run by all processes, also by one that has no row of the batch.
  /// - Returns: What `body` returns.
  /// - Throws: What `body` throws.
  public func accumulate<Result>(isLast: Bool = false, _ body: () throws -> Result) rethrows
    -> Result
  {
    batchCount += 1
    synchronizesGradients = batchCount == gradientAccumulation || isLast
    isExchanged = false
    defer { if synchronizesGradients { batchCount = 0 } }
    return try body()
  }

  /// Adds the derivatives of a loss to the gradients.
  ///
  /// - Parameters:
  ///   - loss: A scalar: the sum over what was asked.
  ///   - weight: How much that was, for example the number of target tokens. The gradients of an update
  ///     are divided by the weights of all its batches.
  public func backward(_ loss: Tensor, weight: Double) {
    self.weight += weight
    (scaler.map { loss * $0.scale } ?? loss).backward()
  }

  /// Scales the gradients of an update down so that their joint length is at most a bound.
  ///
  /// - Parameter maximumNorm: The bound; nil only measures.
  /// - Returns: The length before; nil between updates.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  @discardableResult
  public func clipGradients(maximumNorm: Double?) throws(CollectiveError) -> Double? {
    guard synchronizesGradients else { return nil }
    try synchronize()
    return Optimizers.clipGradients(trained.map(\.parameter), maximumNorm: maximumNorm)
  }

  /// Adds up the gradients of all processes and divides them by the weights, once for each update.
  func synchronize() throws(CollectiveError) {
    guard synchronizesGradients, !isExchanged else { return }
    isExchanged = true
    var total = weight
    if let exchange {
      let own = weight
      // The gradients are there already; what is left is to say what they weigh.
      total = try exchange.gradients(parts: processCount) { _ in own }.values.reduce(0, +)
    }
    weight = 0
    let factor = 1 / (max(total, .leastNormalMagnitude) * (scaler?.scale ?? 1))
    withoutGradients {
      for (_, parameter) in trained { parameter.value.gradient?.multiplyInPlace(factor) }
    }
  }

  /// Makes the update, if it is time for one.
  func step(_ optimizer: any Optimizer, learningRate: Double) throws(CollectiveError) {
    stepWasSkipped = false
    guard synchronizesGradients else { return }
    try synchronize()
    if scaler != nil {
      // Gradients are the same on all processes, and so is what is seen in them.
      let isFinite = trained.allSatisfy { $0.parameter.value.gradient?.isFinite ?? true }
      scaler?.update(isFinite: isFinite)
      stepWasSkipped = !isFinite
      if stepWasSkipped { return }
    }
    optimizer.step(learningRate: learningRate)
    updateCount += 1
  }
}

extension Tensor {
  /// Whether no element is infinite or NaN.
  var isFinite: Bool { count == 0 || detached().absolute().max().item().isFinite }
}

/// An optimiser whose steps are made when an update is whole.
public final class AcceleratedOptimizer {
  private let accelerator: Accelerator
  /// The optimiser itself.
  public let base: any Optimizer

  init(_ accelerator: Accelerator, _ base: any Optimizer) {
    self.accelerator = accelerator
    self.base = base
  }

  /// Changes the parameters if this batch ends an update and its gradients are finite.
  ///
  /// - Parameter learningRate: Size of the step.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func step(learningRate: Double) throws(CollectiveError) {
    try accelerator.step(base, learningRate: learningRate)
  }

  /// Forgets the gradients if this batch ends an update.
  public func zeroGradients() {
    if accelerator.synchronizesGradients { base.zeroGradients() }
  }
}
