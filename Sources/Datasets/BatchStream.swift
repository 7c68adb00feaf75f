/// Batches of one update of the parameters.
public struct BatchGroup: Equatable, Sendable {
  /// The micro-batches, or the parts that they are cut into; fewer than asked for only at the end of an
  /// epoch.
  public let batches: [TokenBatch]
  /// The epoch that they are from, counted from 0.
  public let epoch: Int
  /// Whether the epoch is over after them.
  public let endsEpoch: Bool

  /// Labels of all batches that count towards the loss: what the sum of their losses is divided by,
  /// so that every target has the same weight in whichever batch it stands.
  public var targetCount: Int { batches.reduce(0) { $0 + $1.targetCount } }
  /// Tokens of all batches without padding.
  public var tokenCount: Int { batches.reduce(0) { $0 + $1.tokenCount } }
}

/// A place in the endless sequence of a sampler's batches, small enough to be saved at every step.
public struct BatchPosition: Codable, Equatable, Sendable {
  /// The epoch, counted from 0.
  public var epoch: Int
  /// Batches of the epoch that were handed out.
  public var batchIndex: Int
  /// What the order depends on: ``BatchSampler/orderFingerprint``.
  public var order: String

  /// Makes a position.
  ///
  /// - Parameters:
  ///   - epoch: The epoch, counted from 0.
  ///   - batchIndex: Batches of the epoch that were handed out.
  ///   - order: The sampler's ``BatchSampler/orderFingerprint``.
  public init(epoch: Int, batchIndex: Int, order: String) {
    self.epoch = epoch
    self.batchIndex = batchIndex
    self.order = order
  }
}

/// Hands out groups of batches, epoch after epoch, from any saved position on.
///
/// ```swift
/// var stream = BatchStream(sampler, accumulating: 4)
/// while step < steps, let group = stream.next() { ...; save(stream.position) }
/// ```
public struct BatchStream: IteratorProtocol, Sendable {
  /// The position after the last group.
  public private(set) var position: BatchPosition
  /// Passes over the data after the last group, with a fraction.
  public var epoch: Double {
    Double(position.epoch) + Double(position.batchIndex) / Double(max(plan.count, 1))
  }
  /// Groups of an epoch, the same in all epochs.
  public var groupsPerEpoch: Int { (plan.count + accumulation - 1) / accumulation }

  private let sampler: BatchSampler
  private let accumulation: Int
  private let parts: Int
  private var plan: [[[Int]]]

  /// Starts at the beginning of the first epoch.
  ///
  /// - Parameters:
  ///   - sampler: Data and order.
  ///   - accumulation: Batches of a group, positive.
  ///   - parts: What each batch is cut into, so that several processes share it: part p of n holds rows
  ///     p, p + n, p + 2 n, ...; parts without a row are left out. Positions do not depend on it.
  public init(
    _ sampler: BatchSampler, accumulating accumulation: Int = 1, cutInto parts: Int = 1
  ) {
    precondition(accumulation > 0, "BatchStream: \(accumulation) batches in a group")
    precondition(parts > 0, "BatchStream: \(parts) parts of a batch")
    self.sampler = sampler
    self.accumulation = accumulation
    self.parts = parts
    position = BatchPosition(epoch: 0, batchIndex: 0, order: sampler.orderFingerprint)
    plan = sampler.plan(epoch: 0)
  }

  /// Goes on from a saved position.
  ///
  /// - Parameters:
  ///   - sampler: Data and order, which must be those that the position was saved with.
  ///   - accumulation: Batches of a group, positive.
  ///   - parts: What each batch is cut into.
  ///   - position: Where to go on.
  /// - Throws: ``DatasetError/changedData(expected:actual:)`` when data or options of batching have
  ///   changed, or the position is not one of an epoch.
  public init(
    _ sampler: BatchSampler, accumulating accumulation: Int = 1, cutInto parts: Int = 1,
    from position: BatchPosition
  ) throws(DatasetError) {
    self.init(sampler, accumulating: accumulation, cutInto: parts)
    guard position.order == self.position.order else {
      throw .changedData(
        expected: "order \(position.order)", actual: "order \(self.position.order)")
    }
    guard position.epoch >= 0, (0...plan.count).contains(position.batchIndex) else {
      throw .changedData(
        expected: "batch \(position.batchIndex) of epoch \(position.epoch)",
        actual: "\(plan.count) batches an epoch")
    }
    self.position = position
    if position.epoch > 0 { plan = sampler.plan(epoch: position.epoch) }
  }

  /// The next group; after the last of an epoch comes the first of the next.
  ///
  /// - Returns: The group, or nil when there are no examples at all.
  public mutating func next() -> BatchGroup? {
    guard !plan.isEmpty else { return nil }
    if position.batchIndex >= plan.count {
      position.epoch += 1
      position.batchIndex = 0
      plan = sampler.plan(epoch: position.epoch)
    }
    let end = min(position.batchIndex + accumulation, plan.count)
    let batches = plan[position.batchIndex..<end].flatMap { rows in
      (0..<min(parts, rows.count)).map { part in
        sampler.batch(
          stride(from: part, to: rows.count, by: parts).map { rows[$0] }, epoch: position.epoch)
      }
    }
    position.batchIndex = end
    return BatchGroup(batches: batches, epoch: position.epoch, endsEpoch: end == plan.count)
  }
}
