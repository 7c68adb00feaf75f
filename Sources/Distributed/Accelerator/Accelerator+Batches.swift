public import Datasets

/// What one process computes of a batch.
public struct BatchPart: Equatable, Sendable {
  /// Its rows; nil where the batch has fewer rows than there are processes and none is left for this one.
  public let batch: TokenBatch?
  /// Rows of the whole batch.
  public let rowCount: Int
  /// Number of the batch in its epoch, from 0.
  public let index: Int
  /// Whether it is the epoch's last batch.
  public let isLast: Bool
}

extension Accelerator {
  /// This process's parts of the batches of an epoch.
  ///
  /// Rank r of N has rows r, r + N, and so on of each.
  /// The order depends on sampler and epoch only, so that epoch and number of the next batch are the whole
  /// position, also for another number of processes.
  ///
  /// - Parameters:
  ///   - sampler: Batches for all processes together.
  ///   - epoch: Counted from 0.
  ///   - start: Number of the first batch, for an epoch that was interrupted.
  /// - Returns: As many parts on all processes.
  public func parts(
    of sampler: BatchSampler, epoch: Int, from start: Int = 0
  ) -> some Sequence<BatchPart> {
    let plan = sampler.plan(epoch: epoch)
    let (rank, count) = (processIndex, processCount)
    return (min(start, plan.count)..<plan.count).lazy.map { index in
      let own = stride(from: rank, to: plan[index].count, by: count).map { plan[index][$0] }
      return BatchPart(
        batch: own.isEmpty ? nil : sampler.batch(own, epoch: epoch), rowCount: plan[index].count,
        index: index, isLast: index == plan.count - 1)
    }
  }

  /// This process's share of a list, in order: the first `count % N` ranks have one element more.
  ///
  /// - Parameter elements: The same on all processes.
  /// - Returns: A part without gaps.
  public func split<Element>(_ elements: [Element]) -> ArraySlice<Element> {
    let (size, rest) = elements.count.quotientAndRemainder(dividingBy: processCount)
    let start = processIndex * size + min(processIndex, rest)
    return elements[start..<(start + size + (processIndex < rest ? 1 : 0))]
  }
}
