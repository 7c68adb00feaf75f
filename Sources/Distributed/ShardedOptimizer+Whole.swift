import Collectives
import Layers
import Tensors

/// What looks at whole parameters, of which each process has slices.
extension ShardedOptimizer {
  /// Sums of whole parameters' blocks for those of this process's slices.
  ///
  /// Slices begin and end at blocks, so that whoever has a block gets the same number for it. Each process
  /// sends 16 bytes for each 256 elements of its ranges to each other one.
  func completed(_ own: [[Double]?]) -> [[Double]?] {
    let (group, buckets, unit) = (exchange.group, exchange.buckets.buckets, FlatBuckets.alignment)
    // Two numbers for each block of this process's part of each bucket, bucket by bucket.
    let counts = buckets.map { $0.count / group.size / unit }
    var starts = [0]
    for count in counts { starts.append(starts[starts.count - 1] + 2 * count) }
    var numbers = [Double](repeating: 0, count: starts[starts.count - 1])
    for (slice, sums) in zip(slices, own) {
      let start = starts[slice.bucket] + 2 * (slice.start / unit)
      for (offset, sum) in (sums ?? []).enumerated() { numbers[start + offset] = sum }
    }
    let all: [[Double]]
    do {
      all = try group.allGather(numbers, "sums of squares")
    } catch {
      failure = error
      return own
    }
    return zip(slices, own).map { slice, sums in
      guard sums != nil,
        let place = buckets[slice.bucket].places.first(where: { $0.index == slice.index })
      else { return nil }
      let (first, part) = (place.start / unit, counts[slice.bucket])
      return (first..<(first + (place.count + unit - 1) / unit)).flatMap { block in
        let start = starts[slice.bucket] + 2 * (block % part)
        return all[block / part][start..<(start + 2)]
      }
    }
  }

  /// Lets something look at all parameters with the gradients of an update, which was made, and change
  /// them the same way on every process.
  ///
  /// To be called behind ``shareParameters()``, before gradients are forgotten. With T bytes of parameters
  /// each process sends T (N - 1) / N for the gradients, and at stage 3 as much for the parameters.
  ///
  /// - Parameter body: What looks at them.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func withWholeUpdate(_ body: () -> Void) throws {
    let buckets = exchange.buckets
    try gatherParameters()
    for (index, bucket) in buckets.buckets.enumerated() {
      let flat = Tensor.empty([bucket.count], dtype: bucket.dtype)
      try exchange.group.allGather(sums[index], into: flat, "whole gradients \(index + 1)")
      for place in bucket.places where present[place.index] {
        exchange.parameters[place.index].value.gradient = buckets.view(flat, place)
      }
    }
    body()
    for parameter in exchange.parameters { parameter.value.gradient = nil }
    guard !memories.isEmpty else { return }
    copySlices()
    releaseParameters()
  }
}
