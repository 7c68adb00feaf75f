public import Collectives
public import Layers
import Tensors

/// Gradients of an update whose parts several processes compute.
///
/// An update consists of parts, each a batch that goes through the model as one; part i is computed by
/// rank i mod N. What the processes get is the sum over all parts, on every rank the same to the last
/// bit.
///
/// - With `isOrdered` it is the sum in the order of parts, ((g0 + g1) + g2) + ..., which is also what one
///   process computes that goes through all parts one after another: the number of processes does not
///   change a bit. Each round of N parts is exchanged when it is computed.
/// - Otherwise each process adds up its own parts, and Gloo adds up theirs in its own order.
///
/// Gradients travel in a few flat buckets. With T bytes of gradients an ordered update of R rounds sends
/// (R + 1) T (N - 1) / N bytes from each process, another one 2 T (N - 1) / N. Those of a model's blocks do so
/// while the backward pass goes on (``passedBack(_:)``), in one order on all processes: the last blocks
/// first, then what is in no block.
public final class DataParallel {
  let group: ProcessGroup
  let parameters: [Parameter]
  let buckets: FlatBuckets
  /// What gradients that are exchanged during a backward pass are multiplied by first: one over the scale
  /// of its loss.
  public var passFactor = 1.0
  /// The most bytes of gradients and their sums that were kept behind a round of the last update.
  public private(set) var keptGradientBytes = 0
  /// How much of the exchange of the last update went on during passes.
  public private(set) var overlap = Overlap()
  private let isOrdered: Bool
  private let order: ExchangeOrder
  /// That of the update at work.
  private var progress: ExchangeProgress?

  /// Prepares the exchange.
  ///
  /// - Parameters:
  ///   - parameters: What is trained, the same on all processes, on the processor.
  ///   - group: The processes.
  ///   - isOrdered: Whether gradients are added in the order of parts.
  ///   - blocks: For each parameter the block of the model that it is in, where blocks are to be exchanged
  ///     apart; empty for none.
  ///   - joinsBlocks: Whether small blocks share messages.
  public init(
    _ parameters: [Parameter], in group: ProcessGroup, isOrdered: Bool, blocks: [Int?] = [],
    joinsBlocks: Bool = false
  ) {
    self.group = group
    self.parameters = parameters
    self.isOrdered = isOrdered
    let values = parameters.map(\.value)
    let joined = joinsBlocks ? ExchangeOrder.joined(blocks, values.map(\.byteCount)) : blocks
    buckets = FlatBuckets(values, parts: group.size, blocks: joined)
    order = ExchangeOrder(buckets, blocks: blocks, joined: joined)
  }

  /// What came of one update.
  public struct Update: Equatable, Sendable {
    /// What `compute` returned for each part.
    public var values: [Double]
    /// Whether any process asked to stop.
    public var stops: Bool

    /// Makes the result of one process.
    ///
    /// - Parameters:
    ///   - values: What `compute` returned for each part.
    ///   - stops: Whether any process asked to stop.
    public init(values: [Double], stops: Bool) {
      self.values = values
      self.stops = stops
    }
  }

  /// Computes this process's parts and exchanges the gradients.
  ///
  /// - Parameters:
  ///   - parts: How many there are in all, the same on all processes.
  ///   - stops: Whether this process asks to stop.
  ///   - compute: Adds the gradients of a part to those of the parameters; its result is given to all.
  /// - Returns: The results for all parts.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  /// - Precondition: No parameter has a gradient.
  public func gradients(
    parts: Int, stops: Bool = false, compute: (_ part: Int) -> Double
  ) throws(CollectiveError) -> Update {
    let (record, found) = try computed(
      parts, stops, isOrdered ? .orderedSums : .sums, eachRound: isOrdered, compute)
    for (index, bucket) in buckets.buckets.enumerated() {
      guard let flat = found[index] else { continue }
      for place in bucket.places {
        parameters[place.index].value.gradient =
          record.present[place.index] ? buckets.view(flat, place) : nil
      }
    }
    return record.update(parts, group.size)
  }

  /// Computes this process's parts and gets its share of the gradients' sums.
  ///
  /// That is this rank's part of each bucket; the parameters have no gradients afterwards. With `eachRound`,
  /// or when parts are added in order, gradients are kept for one round only. With `together` a process that
  /// has no part in a round computes another's and forgets it, for what all processes bring to a pass.
  func share(
    parts: Int, stops: Bool, eachRound: Bool, together: Bool, _ compute: (_ part: Int) -> Double
  ) throws(CollectiveError) -> (update: Update, sums: [Tensor], present: [Bool]) {
    let (record, sums) = try computed(
      parts, stops, .shares, eachRound: isOrdered || eachRound, together: together, compute)
    return (record.update(parts, group.size), sums.compactMap { $0 }, record.present)
  }

  private func computed(
    _ parts: Int, _ stops: Bool, _ kind: ExchangeProgress.Kind, eachRound: Bool,
    together: Bool = false, _ compute: (_ part: Int) -> Double
  ) throws(CollectiveError) -> (Record, [Tensor?]) {
    let rounds = (parts + group.size - 1) / group.size
    var values: [Double] = []
    let progress = ExchangeProgress(
      group, kind, order.sequence, bucketCount: buckets.buckets.count,
      parameterCount: parameters.count)
    self.progress = progress
    defer { self.progress = nil }
    for round in 0..<rounds {
      let left = eachRound ? parts - round * group.size : parts
      let isLast = round == rounds - 1
      progress.begin(
        round, contributors: min(group.size, left), isExchanged: eachRound || isLast, isLast: isLast
      )
      let part = round * group.size + group.rank
      values.append(part < parts ? compute(part) : 0)
      // Its gradients are not counted among those of the round.
      if together, part >= parts { _ = compute(round * group.size) }
      progress.endPass()
      try checkPassed(progress)
      if progress.isExchanged {
        for index in progress.rest { send(index, progress) }
      }
      withScope(.phase, "exchange") { progress.wait() }
      if let error = progress.error { throw error }
      let kept = parameters.compactMap(\.value.gradient) + progress.found.compactMap { $0 }
      keptGradientBytes = max(
        round == 0 ? 0 : keptGradientBytes, kept.reduce(0) { $0 + $1.byteCount })
    }
    overlap = progress.overlap
    return (try exchange(values, stops, progress.present), progress.found)
  }

  /// Puts a bucket's gradients into one message and lets the background exchange it.
  private func send(_ index: Int, _ progress: ExchangeProgress) {
    let bucket = buckets.buckets[index]
    for place in bucket.places where parameters[place.index].value.gradient != nil {
      progress.present[place.index] = true
    }
    let flat = joinedGradients(bucket)
    if passFactor != 1 { _ = withoutGradients { flat.multiplyInPlace(passFactor) } }
    for place in bucket.places { parameters[place.index].value.gradient = nil }
    progress.send(flat, index)
  }

  /// Exchanges the gradients of a block, which are whole, while the backward pass goes on.
  ///
  /// - Parameter block: The block that the pass has left.
  public func passedBack(_ block: Int) {
    guard let progress, progress.isExchanged else { return }
    progress.passed.insert(block)
    while let next = progress.rest.first,
      let blocks = order.blocks[next], blocks.isSubset(of: progress.passed)
    {
      send(next, progress)
    }
  }

  /// Checks that no gradient came when its block had been left.
  private func checkPassed(_ progress: ExchangeProgress) throws(CollectiveError) {
    for index in progress.sent {
      for place in buckets.buckets[index].places
      where parameters[place.index].value.gradient != nil {
        throw .lateGradient(parameter: place.index, block: buckets.buckets[index].block ?? 0)
      }
    }
  }

  /// What all processes say of an update.
  private struct Record {
    let values: [[Double]]
    let stops: Bool
    let present: [Bool]

    /// Part i was computed by rank i mod N.
    func update(_ parts: Int, _ size: Int) -> Update {
      Update(values: (0..<parts).map { values[$0 % size][$0 / size] }, stops: stops)
    }
  }

  /// Gives every process rank 0's parameters.
  ///
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func shareParameters() throws(CollectiveError) {
    for (index, bucket) in buckets.buckets.enumerated() {
      let flat = withoutGradients {
        buckets.joined(bucket) { parameters[$0].value.detached() }
      }
      try group.broadcast(flat, "parameters \(index + 1)")
      withoutGradients {
        for place in bucket.places {
          parameters[place.index].value.copyInPlace(from: buckets.view(flat, place))
        }
      }
    }
  }

  private func joinedGradients(_ bucket: FlatBuckets.Bucket) -> Tensor {
    withoutGradients { buckets.joined(bucket) { parameters[$0].value.gradient } }
  }

  /// One small message about everything but the gradients.
  ///
  /// A parameter that no part has used has no gradient, which is not the same as zeros: an optimiser
  /// leaves it alone.
  private func exchange(
    _ values: [Double], _ stops: Bool, _ present: [Bool]
  ) throws(CollectiveError) -> Record {
    let width = 48  // Bits that a Double holds exactly.
    let words = stride(from: 0, to: present.count, by: width).map { start in
      (start..<min(start + width, present.count)).reduce(into: UInt64(0)) { word, index in
        if present[index] { word |= 1 << UInt64(index - start) }
      }
    }
    let own = values + [stops ? 1 : 0] + words.map { Double($0) }
    let all = try group.allGather(own, "losses")
    return Record(
      values: all.map { Array($0.prefix(values.count)) },
      stops: all.contains { $0[values.count] != 0 },
      present: present.indices.map { index in
        all.contains {
          UInt64($0[values.count + 1 + index / width]) >> UInt64(index % width) & 1 == 1
        }
      })
  }
}
