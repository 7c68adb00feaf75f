import Collectives
public import Layers
public import Tensors

/// Parameters that are whole for passes only (stage 3): those of a block when a pass comes to it, others for
/// all passes of an update.
extension ShardedOptimizer {
  /// Shares the parameters out; they must not be read until they are gathered.
  ///
  /// To be called once they are what the run begins with, the same on all processes.
  ///
  /// One that does not lie in row-major order stays where it is, as products of it would round otherwise
  /// in another order; it is written to when the others are brought.
  ///
  /// - Precondition: They are not shared out.
  public func shardParameters() {
    precondition(memories.isEmpty, "shardParameters: twice")
    copySlices()
    for (index, bucket) in exchange.buckets.buckets.enumerated() {
      let memory = ReservedMemory(count: shards[index].byteCount * exchange.group.size)
      for place in bucket.places {
        let value = exchange.parameters[place.index].value
        guard value.isContiguous else { continue }
        value.takeMemory(
          of: memory.tensor(
            at: place.start * bucket.dtype.byteCount, shape: place.shape, dtype: bucket.dtype))
      }
      memories.append(memory)
    }
  }

  /// Brings all parameters.
  ///
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func gatherParameters() throws {
    try gather { _ in true }
  }

  /// Brings the parameters that are in no block.
  ///
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func gatherOutside() throws {
    try gather { $0 == nil }
  }

  private func gather(_ isWanted: (_ block: Int?) -> Bool) throws {
    let wanted = memories.indices.filter {
      !whole.contains($0) && isWanted(exchange.buckets.buckets[$0].block)
    }
    guard !wanted.isEmpty else { return }
    try gathering(wanted).wait()
    settle(wanted)
  }

  /// Begins to gather some buckets.
  private func gathering(_ indices: [Int]) -> Gathering {
    let (group, memories, shards) = (exchange.group, memories, shards)
    return Gathering(group) {
      for index in indices {
        memories[index].open()
        let dtype = shards[index].dtype
        let whole = memories[index].tensor(
          at: 0, shape: [memories[index].count / dtype.byteCount], dtype: dtype)
        try group.allGather(shards[index], into: whole, "parameters \(index + 1)")
      }
    }
  }

  /// Copies what does not lie in the buckets' memory, once this is there.
  private func settle(_ indices: [Int]) {
    for index in indices {
      let bucket = exchange.buckets.buckets[index]
      for place in bucket.places where !exchange.parameters[place.index].value.isContiguous {
        let found = memories[index].tensor(
          at: place.start * bucket.dtype.byteCount, shape: place.shape, dtype: bucket.dtype)
        withoutGradients { _ = exchange.parameters[place.index].value.copyInPlace(from: found) }
      }
      whole.insert(index)
    }
  }

  /// Lets the whole parameters go.
  public func releaseParameters() {
    for index in whole { memories[index].close() }
    whole = []
  }

  private func buckets(of block: Int) -> [Int] {
    memories.indices.filter { exchange.buckets.buckets[$0].block == block }
  }
}

/// The trained parameters of blocks: they come and go as what is frozen does.
extension ShardedOptimizer: BlockSource {
  /// Does not happen: what is trained is known already.
  ///
  /// - Parameters:
  ///   - tensors: Ignored.
  ///   - block: Ignored.
  public func take(_ tensors: [Tensor], of block: Int) {
    preconditionFailure("ShardedOptimizer: frozen tensors of block \(block)")
  }

  /// Does not happen.
  ///
  /// - Parameter tensors: Ignored.
  public func takeOutside(_ tensors: [Tensor]) {
    preconditionFailure("ShardedOptimizer: frozen tensors")
  }

  /// Begins to gather a block's parameters, unless all are whole.
  ///
  /// - Parameter block: The block.
  public func fetch(_ block: Int) {
    let wanted = buckets(of: block).filter { !whole.contains($0) }
    if !wanted.isEmpty { gatherings[block] = gathering(wanted) }
  }

  /// Waits for them.
  ///
  /// - Parameter block: The block.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func await(_ block: Int) throws {
    guard let gathering = gatherings.removeValue(forKey: block) else { return }
    try gathering.wait()
    settle(buckets(of: block))
  }

  /// Exchanges the block's gradients, which are not kept as a whole.
  ///
  /// - Parameter block: The block.
  public func passedBack(_ block: Int) { exchange.passedBack(block) }

  /// Lets the block's parameters go.
  ///
  /// - Parameter block: The block.
  public func drop(_ block: Int) {
    for index in buckets(of: block) where whole.remove(index) != nil { memories[index].close() }
  }

  /// Opens their memory.
  ///
  /// - Parameter block: The block.
  public func expose(_ block: Int) { for index in buckets(of: block) { memories[index].open() } }

  /// Every process brings its range.
  public var isShared: Bool { true }

  /// Memory is given back.
  ///
  /// - Parameter tensor: Any tensor.
  /// - Returns: Whether it lies in a bucket.
  public func loses(_ tensor: Tensor) -> Bool { memories.contains { $0.holds(tensor) } }
}
