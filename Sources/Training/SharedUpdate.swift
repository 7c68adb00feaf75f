import Collectives
import Datasets
import Layers
import Optimizers
import Tensors

/// How several processes share the updates of a run.
///
/// A run's batch size and accumulation say what an update is: A micro-batches of B rows. N processes
/// share it, so that the same recipe gives the same run whatever their number. Micro-batches are cut into
/// as many parts as it takes for each process to get equally many, N / gcd(A, N), or into a number of
/// parts that is the run's own (``TrainingOptions/orderedParts``); rank r computes parts r, r + N, ...
enum SharedUpdate {
  /// Parts of each micro-batch.
  static func parts(_ options: TrainingOptions, _ processes: ProcessGroup?) -> Int {
    if let parts = options.orderedParts { return parts }
    var (count, other) = (processes?.size ?? 1, options.gradientAccumulation)
    let size = count
    while other != 0 { (count, other) = (other, count % other) }
    return size / count
  }

  /// Checks that an update has something for every process.
  static func check(
    _ options: TrainingOptions, _ processes: ProcessGroup?
  ) throws(TrainingError) {
    guard let size = processes?.size else { return }
    let parts = min(parts(options, processes), options.batchSize) * options.gradientAccumulation
    guard parts < size else { return }
    let limit = options.orderedParts.map { " cut into \($0) (--deterministic)" } ?? ""
    throw .option(
      name: "batch-size",
      expected: "an update with a part for each of \(size) processes",
      actual: "\(options.batchSize), \(options.gradientAccumulation) micro-batches of so many "
        + "rows\(limit)")
  }
}

extension SharedUpdate {
  /// The block that each trained parameter is in; nil for those outside, or in several.
  ///
  /// None where a method adds a penalty or changes parameters after each update, for which all of them
  /// have to be there behind a pass.
  static func blocks(of model: any TrainableModel) -> [Int?] {
    guard !model.actsBetweenUpdates else { return [] }
    let base: any LossModel = model.base
    var places: [Parameter: Set<Int>] = [:]
    for (index, block) in base.blocks.enumerated() {
      for (_, parameter) in block.parameters() { places[parameter, default: []].insert(index) }
    }
    for parameter in base.parametersBeforeBlocks { places[parameter] = nil }
    return model.trainableParameters.map { key, parameter in
      places[parameter].flatMap { $0.count == 1 ? $0.first : nil }
    }
  }
}

extension Trainer {
  /// Starts the random numbers of a part anew, from seed, update and part.
  ///
  /// So they are the same on whichever process the part is computed. One process that goes through whole
  /// micro-batches draws all its numbers from one sequence instead.
  func prepareDraws(step: Int, part: Int) {
    guard processes != nil || options.orderedParts != nil else { return }
    var update = SeededGenerator(seed: options.seed, stream: UInt64(step))
    var draws = SeededGenerator(seed: update.next(), stream: UInt64(part))
    model.generator.seed(draws.next())
  }

  /// Checks that all processes are about to do the same.
  func agree(on step: Int, order: String) throws {
    guard let processes else { return }
    let elements = trained.reduce(0) { $0 + $1.parameter.count }
    let plan =
      "\(totalSteps) updates after update \(step), \(trained.count) trained tensors of \(elements) "
      + "elements, data \(order), seed \(options.seed), \(options.optimizer)"
    let plans = try processes.allGather(plan, "plan of the run")
    guard let other = plans.indices.first(where: { plans[$0] != plans[0] }) else { return }
    throw TrainingError.ranks(
      "rank 0 has \(plans[0]); rank \(other) has \(plans[other]). All processes need the same command, "
        + "data and model, and see the same --output")
  }
}
