import CTorch
public import Tensors

extension ProcessGroup {
  /// How numbers of all processes become one.
  public enum Reduction: Int32, Sendable {
    case sum = 0
    case maximum = 1
    case minimum = 2
  }

  /// Waits until all processes are here.
  ///
  /// - Parameter label: What it is for; all processes say the same.
  /// - Throws: ``CollectiveError`` when another process is gone or asks for something else.
  public func barrier(_ label: String) throws(CollectiveError) {
    _ = try allGather(Tensor.zeros([1], dtype: .uint8), label)
  }

  /// Replaces a tensor by the sum, maximum or minimum over all processes, element by element.
  ///
  /// The order of a sum depends on the number of processes; ``orderedReduceScatter(_:of:onto:_:)``
  /// adds in the order of ranks.
  ///
  /// - Parameters:
  ///   - tensor: Any shape, contiguous, on the processor; changed in place.
  ///   - reduction: How.
  ///   - label: What it is for; all processes say the same.
  /// - Throws: ``CollectiveError`` when another process is gone or asks for something else.
  public func allReduce(
    _ tensor: Tensor, _ reduction: Reduction = .sum, _ label: String
  ) throws(CollectiveError) {
    try perform(
      label, "all-reduce (\(reduction))", tensor,
      sentBytes: 2 * tensor.byteCount * (size - 1) / size
    ) { ctorch_group_all_reduce($0, tensor.handle, reduction.rawValue, &$1) }
    withExtendedLifetime(tensor) {}
  }

  /// Replaces a tensor by another process's.
  ///
  /// - Parameters:
  ///   - tensor: Any shape, contiguous, on the processor; changed in place on all ranks but `root`.
  ///   - root: The rank that has it.
  ///   - label: What it is for; all processes say the same.
  /// - Throws: ``CollectiveError`` when another process is gone or asks for something else.
  public func broadcast(
    _ tensor: Tensor, from root: Int = 0, _ label: String
  ) throws(CollectiveError) {
    try perform(
      label, "broadcast from rank \(root)", tensor, sentBytes: rank == root ? tensor.byteCount : 0
    ) { ctorch_group_broadcast($0, tensor.handle, Int32(root), &$1) }
    withExtendedLifetime(tensor) {}
  }

  /// The tensors of all processes, in the order of ranks.
  ///
  /// - Parameters:
  ///   - tensor: Any shape, the same on all ranks, contiguous, on the processor.
  ///   - label: What it is for; all processes say the same.
  /// - Returns: A new tensor of shape `[size, ...]`.
  /// - Throws: ``CollectiveError`` when another process is gone or asks for something else.
  public func allGather(_ tensor: Tensor, _ label: String) throws(CollectiveError) -> Tensor {
    let output = Tensor.empty([size] + tensor.shape, dtype: tensor.dtype)
    try allGather(tensor, into: output, label)
    return output
  }

  /// Fills a tensor with those of all processes, in the order of ranks.
  ///
  /// - Parameters:
  ///   - tensor: Any shape, the same on all ranks, contiguous, on the processor; it may not be a part
  ///     of `output`.
  ///   - output: `size` times as many elements; changed in place.
  ///   - label: What it is for; all processes say the same.
  /// - Throws: ``CollectiveError`` when another process is gone or asks for something else.
  public func allGather(
    _ tensor: Tensor, into output: Tensor, _ label: String
  ) throws(CollectiveError) {
    precondition(
      output.count == size * tensor.count && output.dtype == tensor.dtype && output.isContiguous,
      "allGather: \(size) times \(tensor.dtype)\(tensor.shape) into \(output.dtype)\(output.shape)")
    // c10d wants one dimension; these are the same memory.
    let (part, all) = (tensor.reshaped([tensor.count]), output.reshaped([output.count]))
    try perform(label, "all-gather", part, sentBytes: tensor.byteCount * (size - 1)) {
      ctorch_group_all_gather($0, all.handle, part.handle, &$1)
    }
    withExtendedLifetime((part, all)) {}
  }

  /// Sends part r of a tensor to rank r.
  ///
  /// - Parameters:
  ///   - tensor: Its first dimension is divisible by the number of processes.
  ///   - label: What it is for; all processes say the same.
  /// - Returns: A tensor of the same shape with the parts that the other ranks sent, in their order.
  /// - Throws: ``CollectiveError`` when another process is gone or asks for something else.
  public func allToAll(_ tensor: Tensor, _ label: String) throws(CollectiveError) -> Tensor {
    precondition(
      tensor.rank > 0 && tensor.size(0) % size == 0,
      "allToAll: \(tensor.shape) does not have \(size) equal parts")
    let output = tensor.emptyLike()
    try perform(label, "all-to-all", tensor, sentBytes: tensor.byteCount * (size - 1) / size) {
      ctorch_group_all_to_all($0, output.handle, tensor.handle, &$1)
    }
    withExtendedLifetime((tensor, output)) {}
    return output
  }

  /// Adds up the tensors of some ranks in their order; each process gets its part of the sums.
  ///
  /// The order does not depend on how many processes there are: ((g0 + g1) + g2) + ..., which is what
  /// one process computes that adds the tensors one after another.
  ///
  /// - Parameters:
  ///   - tensor: One dimension, divisible by the number of processes; brought by every rank, also by one
  ///     that is not counted.
  ///   - contributors: Tensors of ranks 0 ..< contributors are added.
  ///   - sums: This process's part of earlier sums, to which is added in place; nil to begin.
  ///   - label: What it is for; all processes say the same.
  /// - Returns: Part `rank` of the sums, `[count / size]`.
  /// - Throws: ``CollectiveError`` when another process is gone or asks for something else.
  public func orderedReduceScatter(
    _ tensor: Tensor, of contributors: Int, onto sums: Tensor? = nil, _ label: String
  ) throws(CollectiveError) -> Tensor {
    precondition(
      tensor.rank == 1 && 1...size ~= contributors, "orderedReduceScatter: \(contributors)")
    let part = tensor.count / size
    let parts = try allToAll(tensor, label)
    return withoutGradients {
      var total = sums
      for rank in 0..<contributors {
        let addend = parts.narrowed(0, (rank * part)..<((rank + 1) * part))
        if let total { total.addInPlace(addend) } else { total = addend.cloned() }
      }
      return total ?? parts
    }
  }

  /// One number of every process, in the order of ranks.
  ///
  /// - Parameters:
  ///   - numbers: As many on all ranks.
  ///   - label: What it is for; all processes say the same.
  /// - Returns: The numbers of each rank.
  /// - Throws: ``CollectiveError`` when another process is gone or asks for something else.
  public func allGather(
    _ numbers: [Double], _ label: String
  ) throws(CollectiveError) -> [[Double]] {
    let all = try allGather(Tensor(numbers), label).array(of: Double.self)
    return (0..<size).map { Array(all[($0 * numbers.count)..<(($0 + 1) * numbers.count)]) }
  }

  /// A text of every process, in the order of ranks.
  ///
  /// - Parameters:
  ///   - text: Of any length.
  ///   - label: What it is for; all processes say the same.
  /// - Returns: The texts.
  /// - Throws: ``CollectiveError`` when another process is gone or asks for something else.
  public func allGather(_ text: String, _ label: String) throws(CollectiveError) -> [String] {
    let bytes = Array(text.utf8)
    let counts = try allGather([Double(bytes.count)], label + ", lengths").map { Int($0[0]) }
    let room = max(counts.max() ?? 0, 1)
    let all = try allGather(
      Tensor(bytes + Array(repeating: 0, count: room - bytes.count)), label
    ).array(of: UInt8.self)
    return counts.enumerated().map { rank, count in
      String(decoding: all[(rank * room)..<(rank * room + count)], as: UTF8.self)
    }
  }
}
