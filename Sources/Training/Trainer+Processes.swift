import Distributed
import JSONValues
import Layers

/// What processes bring to each other's passes, and share of an evaluation.
extension Trainer {
  /// At stage 3: from here on parameters are there for passes only.
  func shardParameters() {
    guard options.zeroStage == 3, let sharded else { return }
    sharded.shardParameters()
    let base: any LossModel = model.base
    guard !base.blocks.isEmpty else { return }
    let residency = base.residency ?? BlockResidency()
    residency.trained = sharded
    base.residency = residency
  }

  /// Lets gradients of blocks travel while the passes of an update go on.
  func watchingPasses<Result>(_ body: () throws -> Result) rethrows -> Result {
    let base: any LossModel = model.base
    guard let passing, !base.blocks.isEmpty else { return try body() }
    let own = base.residency
    let residency = own ?? BlockResidency()
    residency.trained = passing
    base.residency = residency
    defer {
      residency.trained = nil
      base.residency = own
    }
    return try body()
  }

  /// The batches of an evaluation that this process goes through.
  var evaluationShare: EvaluationShare {
    let residency = model.base.residency
    return EvaluationShare(processes, goesTogether: residency?.isShared == true) {
      try residency?.check()
    }
  }

  /// Brings everything that processes share out, where it is read outside of passes; all of them do so.
  func withWholeModel(_ body: () throws -> Void) throws {
    try sharded?.gatherParameters()
    defer { sharded?.releaseParameters() }
    guard model.readsBlocks, let residency = model.base.residency else { return try body() }
    try residency.holdingAll(body)
  }

  /// Measures; each process goes through its share of the batches, and rank 0 writes.
  func evaluate(_ step: Int, _ log: MetricsLog?) throws {
    try sharded?.gatherOutside()
    defer { sharded?.releaseParameters() }
    model.isTraining = false
    defer { model.isTraining = true }
    let figures =
      try measure?(options.batchSize, evaluationShare)
      ?? model.base.figures(
        of: evaluation, batchSize: options.batchSize, share: evaluationShare)
    guard let log else { return }
    var row = JSONObject([("step", .integer(step))])
    for (name, value) in figures { row["eval_" + name] = .number(value) }
    try log.append(.object(row))
    try tensorBoard?.append(step: step, figures.map { ("eval/" + $0.name, $0.value) })
    onEvaluation(step, figures)
  }
}
