/// How examples are put into batches.
public struct BatchingOptions: Equatable, Sendable {
  /// Rows of a batch.
  public var batchSize: Int
  /// Whether the order changes from epoch to epoch.
  public var shuffles: Bool
  /// Whether rows of similar length share a batch.
  public var groupsByLength: Bool
  /// Longest row when several examples are packed into one; nil for one example a row.
  public var packingLength: Int?
  /// Start of the random order.
  public var seed: UInt64
  /// How tokens are hidden in each epoch; nil for not.
  public var masking: TokenMasking?

  /// Makes options.
  ///
  /// - Parameters:
  ///   - batchSize: Rows of a batch, positive.
  ///   - shuffles: Whether the order changes from epoch to epoch.
  ///   - groupsByLength: Whether rows of similar length share a batch.
  ///   - packingLength: Longest packed row in tokens, or nil.
  ///   - seed: Start of the random order.
  ///   - masking: How tokens are hidden in each epoch; nil for not.
  public init(
    batchSize: Int, shuffles: Bool = true, groupsByLength: Bool = true, packingLength: Int? = nil,
    seed: UInt64 = 0, masking: TokenMasking? = nil
  ) {
    self.batchSize = batchSize
    self.shuffles = shuffles
    self.groupsByLength = groupsByLength
    self.packingLength = packingLength
    self.seed = seed
    self.masking = masking
  }
}

/// Hands out batches in an order that depends on the seed and the epoch only, so that a run can be
/// resumed anywhere by two numbers.
public struct BatchSampler: Sendable {
  let examples: [TokenizedExample]
  let options: BatchingOptions
  private let paddingID: Int32
  /// Batches are formed among so many batches' worth of examples, so that grouping by length leaves
  /// the order random.
  private static let groupSpan = 50

  /// Makes a sampler.
  ///
  /// - Parameters:
  ///   - examples: The data in the order of the file.
  ///   - options: How to batch.
  ///   - paddingID: Fills rows up.
  public init(_ examples: [TokenizedExample], options: BatchingOptions, paddingID: Int32) {
    precondition(options.batchSize > 0, "BatchSampler: batch size \(options.batchSize)")
    self.examples = examples
    self.options = options
    self.paddingID = paddingID
  }

  /// The batches of one epoch, each example once, the last batch possibly smaller.
  ///
  /// The examples are shuffled with a generator made of seed and epoch (``SeededGenerator``). With
  /// grouping, spans of 50 batches are sorted by length, longest first, and the batches that come of
  /// it are shuffled; with packing, the rows. The number of batches is the same in all epochs.
  ///
  /// - Parameter epoch: Counted from 0.
  /// - Returns: Rows of example numbers for each batch; ``batch(_:)`` makes tensors' content of one.
  public func plan(epoch: Int) -> [[[Int]]] {
    var generator = SeededGenerator(seed: options.seed, stream: UInt64(epoch))
    var order = Array(examples.indices)
    if options.shuffles { generator.shuffle(&order) }
    let size = options.batchSize
    if let length = options.packingLength {
      var rows = packed(order, length)
      // Packing puts long examples first; what the model sees first must not depend on length.
      if options.shuffles { generator.shuffle(&rows) }
      return rows.chunks(of: size)
    }
    var rows = order.map { [$0] }
    guard options.groupsByLength else { return rows.chunks(of: size) }
    rows = rows.chunks(of: size * Self.groupSpan).flatMap { span in
      span.enumerated().sorted { left, right in
        let (a, b) = (examples[left.element[0]].size, examples[right.element[0]].size)
        return a == b ? left.offset < right.offset : a > b
      }.map(\.element)
    }
    var batches = rows.chunks(of: size)
    if options.shuffles { generator.shuffle(&batches) }
    return batches
  }

  /// One batch of a plan.
  ///
  /// - Parameters:
  ///   - rows: Example numbers of each row.
  ///   - epoch: The plan's, on which depends what is hidden.
  /// - Returns: The padded rows.
  public func batch(_ rows: [[Int]], epoch: Int = 0) -> TokenBatch {
    func example(_ number: Int) -> TokenizedExample {
      options.masking?.masked(examples[number], number: number, epoch: epoch) ?? examples[number]
    }
    return TokenBatch(rows: rows.map { $0.map(example) }, paddingID: paddingID)
  }

  /// Packs examples, longest first, those of one length in their random order.
  private func packed(_ order: [Int], _ length: Int) -> [[Int]] {
    let byLength = order.enumerated().sorted { left, right in
      let (a, b) = (examples[left.element].ids.count, examples[right.element].ids.count)
      return a == b ? left.offset < right.offset : a > b
    }.map(\.element)
    return packBestFit(byLength.map { examples[$0].ids.count }, into: length)
      .map { $0.map { byLength[$0] } }
  }
}

extension Array {
  fileprivate func chunks(of size: Int) -> [[Element]] {
    stride(from: 0, to: count, by: size).map { Array(self[$0..<Swift.min($0 + size, count)]) }
  }
}
