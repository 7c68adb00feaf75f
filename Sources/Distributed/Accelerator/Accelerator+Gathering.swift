public import Collectives
public import Tensors

extension Accelerator {
  /// The tensors of all processes, one behind another in the order of ranks.
  ///
  /// - Parameter tensor: `[n, ...]`, or a scalar, which counts as `[1]`; the same shape on all ranks.
  /// - Returns: `[N n, ...]`.
  /// - Throws: `CollectiveError` when another process is gone or brings another shape.
  public func gather(_ tensor: Tensor) throws(CollectiveError) -> Tensor {
    let rows = tensor.rank == 0 ? tensor.reshaped([1]) : tensor
    guard let processes else { return rows }
    let all = try processes.allGather(rows.detached().contiguous(), "gather")
    return all.reshaped([processCount * rows.size(0)] + rows.shape.dropFirst())
  }

  /// The sum, the maximum or the minimum over all processes, element by element.
  ///
  /// - Parameters:
  ///   - tensor: The same shape on all ranks.
  ///   - reduction: How.
  /// - Returns: A new tensor of that shape.
  /// - Throws: `CollectiveError` when another process is gone or brings another shape.
  public func reduce(
    _ tensor: Tensor, _ reduction: ProcessGroup.Reduction = .sum
  ) throws(CollectiveError) -> Tensor {
    let result = tensor.detached().contiguous().cloned()
    try processes?.allReduce(result, reduction, "reduce")
    return result
  }

  /// Fills a tensor up to the longest of all processes along one dimension.
  ///
  /// - Parameters:
  ///   - tensor: The same shape on all ranks but along `dimension`.
  ///   - dimension: Along which.
  ///   - value: What it is filled with, behind its own elements.
  /// - Returns: A tensor of the same shape on all ranks.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func padAcrossProcesses(
    _ tensor: Tensor, dimension: Int = 0, value: Double = 0
  ) throws(CollectiveError) -> Tensor {
    guard let processes else { return tensor }
    let sizes = try processes.allGather([Double(tensor.size(dimension))], "sizes to pad to")
    return padded(tensor, dimension, to: Int(sizes.map { $0[0] }.max() ?? 0), value)
  }

  /// Rows that the processes computed of a batch, in the order that they have in the batch, each once.
  ///
  /// - Parameter tensor: `[n, ...]`: a row for each row of this process's part, none if it has none.
  /// - Returns: `[rows of the batch, ...]`, on all processes.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func gatherForMetrics(_ tensor: Tensor) throws(CollectiveError) -> Tensor {
    guard let processes else { return tensor }
    let counts = try processes.allGather([Double(tensor.size(0))], "rows").map { Int($0[0]) }
    let longest = max(counts.max() ?? 0, 1)
    let all = try processes.allGather(
      padded(tensor.detached(), 0, to: longest, 0).contiguous(), "rows for metrics")
    // Rank r has rows r, r + N, ...: by place first, then by rank.
    var rows: [Tensor] = []
    for place in 0..<longest {
      for rank in 0..<processCount where place < counts[rank] {
        rows.append(all.selected(0, rank).narrowed(0, place..<(place + 1)))
      }
    }
    return rows.isEmpty ? tensor : Tensor.concatenated(rows)
  }

  private func padded(
    _ tensor: Tensor, _ dimension: Int, to size: Int, _ value: Double
  ) -> Tensor {
    var shape = tensor.shape
    let missing = size - shape[dimension]
    guard missing > 0 else { return tensor }
    shape[dimension] = missing
    let filling = Tensor.full(shape, value, dtype: tensor.dtype)
    return Tensor.concatenated([tensor, filling], dimension: dimension)
  }
}
