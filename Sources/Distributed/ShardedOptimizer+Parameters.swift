public import Collectives
import Layers
import Tensors

/// Parameters that are whole for the passes of an update only (stage 3).
extension ShardedOptimizer {
  /// Shares the parameters out; until ``gatherParameters()`` they must not be read.
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
    areWhole = false
  }

  /// Brings the whole parameters, unless they are there.
  ///
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func gatherParameters() throws(CollectiveError) {
    guard !areWhole else { return }
    for (index, memory) in memories.enumerated() {
      memory.open()
      let dtype = shards[index].dtype
      let whole = memory.tensor(at: 0, shape: [memory.count / dtype.byteCount], dtype: dtype)
      try exchange.group.allGather(shards[index], into: whole, "parameters \(index + 1)")
      for place in exchange.buckets.buckets[index].places {
        let value = exchange.parameters[place.index].value
        guard !value.isContiguous else { continue }
        withoutGradients { _ = value.copyInPlace(from: exchange.buckets.view(whole, place)) }
      }
    }
    areWhole = true
  }

  /// Lets the whole parameters go.
  public func releaseParameters() {
    guard areWhole, !memories.isEmpty else { return }
    for memory in memories { memory.close() }
    areWhole = false
  }
}
