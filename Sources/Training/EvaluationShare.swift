public import Collectives

/// Which batches of an evaluation a process goes through: rank r has batches r, r + N, ...
///
/// All processes get what each batch gives, in the order of batches. A batch is the same whoever computes
/// it, and sums are added up in that order, so that the figures are those of one process to the last bit,
/// as long as each computes with the same number of threads.
public struct EvaluationShare {
  private let group: ProcessGroup?
  private let goesTogether: Bool
  private let settle: () throws -> Void

  /// The share of a process that is alone: everything.
  public init() {
    (group, goesTogether) = (nil, false)
    settle = {}
  }

  /// A part for each process.
  ///
  /// - Parameters:
  ///   - group: The processes, which evaluate the same data; nil for one.
  ///   - goesTogether: Whether all have to make the same passes, as each brings a part of the model:
  ///     one without a batch of its own then computes another's.
  ///   - settle: Ends what passes have begun; called before anything else is asked of the processes.
  public init(_ group: ProcessGroup?, goesTogether: Bool, settle: @escaping () throws -> Void) {
    (self.group, self.goesTogether, self.settle) = (group, goesTogether, settle)
  }

  /// What each batch gives.
  ///
  /// - Parameters:
  ///   - count: Batches, the same on all processes.
  ///   - body: Computes a batch, by its number from 0; any numbers.
  /// - Returns: The numbers of each batch in their order, on all processes.
  /// - Throws: `CollectiveError` when another process is gone or does something else, and what `settle`
  ///   throws.
  public func map(_ count: Int, _ body: (_ batch: Int) -> [Double]) throws -> [[Double]] {
    guard let group else {
      let all = (0..<count).map(body)
      try settle()
      return all
    }
    let rounds = (count + group.size - 1) / group.size
    var own: [[Double]] = []
    for round in 0..<rounds {
      let first = round * group.size
      if first + group.rank < count {
        own.append(body(first + group.rank))
      } else if goesTogether {
        _ = body(first)
      }
    }
    try settle()
    let lengths = own.map { Double($0.count) } + Array(repeating: 0, count: rounds - own.count)
    let all = try group.allGather(lengths + [0], "lengths of figures")
    let longest = all.map { $0.reduce(0, +) }.max() ?? 0
    let flat = own.joined() + Array(repeating: 0, count: Int(longest) + 1)
    let numbers = try group.allGather(Array(flat.prefix(Int(longest) + 1)), "figures")
    var places = Array(repeating: 0, count: group.size)
    return (0..<count).map { batch in
      let (rank, length) = (batch % group.size, Int(all[batch % group.size][batch / group.size]))
      defer { places[rank] += length }
      return Array(numbers[rank][places[rank]..<(places[rank] + length)])
    }
  }
}
