public import Collectives
public import Layers
public import Optimizers
public import Tensors

/// An optimiser whose state the processes share out (ZeRO, stages 1 to 3).
///
/// Parameters lie one behind another in flat buckets; each process has one of N equal ranges of each bucket,
/// changes the parameters in it, and gets the others' from them. Ranges begin and end at blocks of 256
/// elements, so that states of 8 bits are those of one process, and everything is elementwise but for the
/// lengths of LAMB and LARS, whose sums of blocks are exchanged and added up in one order: the parameters are
/// those of one process, to the last bit.
///
/// With T elements each process keeps T / N elements of parameters and, for Adam, 2 T / N of state besides
/// the T parameters. At stage 1 gradients stay whole until the update is; at stage 2 they are shared out
/// after each round of parts. At stage 3 a process keeps no more than its T / N elements between updates:
/// ``gatherParameters()`` brings the others' for the passes of one, in place of what follows an update
/// at the other stages, so that as many bytes are sent.
///
/// - Note: Source: Rajbhandari et al. 2020, arXiv 1910.02054.
public final class ShardedOptimizer: Optimizer {
  /// A part of one parameter that lies in this process's range of a bucket.
  struct Slice {
    /// Number of the parameter.
    let index: Int
    /// Number of the bucket.
    let bucket: Int
    /// Elements of the flattened parameter.
    let range: Range<Int>
    /// First element in this process's part of the bucket.
    let start: Int
    let parameter: Parameter
  }

  let exchange: DataParallel
  private let stage: Int
  let names: [String]
  let shards: [Tensor]
  let slices: [Slice]
  /// At stage 3, once they are shared out: where the parameters of each bucket are when they are whole.
  var memories: [ReservedMemory] = []
  /// The buckets whose parameters are whole.
  var whole: Set<Int> = []
  /// Gatherings of blocks that were begun.
  var gatherings: [Int: Gathering] = [:]
  let optimizer: any Optimizer
  var sums: [Tensor] = []
  /// Parameters that have a gradient in this update.
  var present: [Bool] = []
  /// What went wrong in a step, which cannot throw.
  var failure: CollectiveError?

  /// Shares an optimiser out.
  ///
  /// - Parameters:
  ///   - stage: 1, 2 or 3.
  ///   - names: Names of the exchange's parameters, for the saved state.
  ///   - exchange: What is trained, and the processes.
  ///   - make: Makes the optimiser of this process's slices, each a parameter of one dimension whose name
  ///     `whole` maps to the parameter that it is from.
  /// - Throws: What `make` throws.
  public init(
    stage: Int, names: [String], _ exchange: DataParallel,
    make: (
      _ slices: [(name: String, parameter: Parameter)], _ whole: [String: Parameter]
    ) throws -> any Optimizer
  ) throws {
    precondition(1...3 ~= stage && names.count == exchange.parameters.count, "stage \(stage)")
    self.exchange = exchange
    self.names = names
    self.stage = stage
    let (rank, size) = (exchange.group.rank, exchange.group.size)
    var (slices, shards): ([Slice], [Tensor]) = ([], [])
    for (number, bucket) in exchange.buckets.buckets.enumerated() {
      let part = bucket.count / size
      let own = (rank * part)..<((rank + 1) * part)
      let shard = Tensor.zeros([part], dtype: bucket.dtype)
      for place in bucket.places {
        let range = (place.start..<(place.start + place.count)).clamped(to: own)
        guard !range.isEmpty else { continue }
        let start = range.lowerBound - own.lowerBound
        let value = shard.narrowed(0, start..<(start + range.count)).detached()
        slices.append(
          Slice(
            index: place.index, bucket: number,
            range: (range.lowerBound - place.start)..<(range.upperBound - place.start),
            start: start, parameter: Parameter(value)))
      }
      shards.append(shard)
    }
    self.slices = slices
    self.shards = shards
    var whole: [String: Parameter] = [:]
    let named = slices.map { slice in
      let name = Self.name(names[slice.index], slice.range.lowerBound)
      whole[name] = exchange.parameters[slice.index]
      return (name: name, parameter: slice.parameter)
    }
    optimizer = try make(named, whole)
    (optimizer as? FusedOptimizer)?.completeSums = { [weak self] in self?.completed($0) ?? $0 }
  }

  /// What a slice is called in the state of this process's optimiser.
  private static func name(_ parameter: String, _ start: Int) -> String { "\(parameter)@\(start)" }

  /// Computes this process's parts of an update and gets its share of the gradients.
  ///
  /// - Parameters:
  ///   - parts: How many there are in all, the same on all processes.
  ///   - stops: Whether this process asks to stop.
  ///   - compute: Adds the gradients of a part to those of the parameters; its result is given to all.
  /// - Returns: The results for all parts; the parameters have no gradients then.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func gradients(
    parts: Int, stops: Bool = false, compute: (_ part: Int) -> Double
  ) throws(CollectiveError) -> DataParallel.Update {
    let result = try exchange.share(
      parts: parts, stops: stops, eachRound: stage > 1, together: stage == 3, compute)
    (sums, present) = (result.sums, result.present)
    for slice in slices {
      slice.parameter.value.gradient =
        result.present[slice.index]
        ? sums[slice.bucket].narrowed(0, slice.start..<(slice.start + slice.range.count)) : nil
    }
    return result.update
  }

  /// Scales the gradients of all processes down so that their joint length is at most a bound.
  ///
  /// - Parameter maximumNorm: The bound; nil only measures.
  /// - Returns: The length before, as `GradientNorm.clip` measures it.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func clip(maximumNorm: Double?) throws(CollectiveError) -> Double {
    let group = exchange.group
    var squares: [Int: ArraySlice<Double>] = [:]
    for (index, sum) in sums.enumerated() {
      let own = withoutGradients { GradientNorm.blocks(sum) }
      let all = try group.allGather(own, "squares \(index + 1)").array(of: Double.self)
      let unit = FlatBuckets.alignment
      for place in exchange.buckets.buckets[index].places {
        squares[place.index] =
          all[place.start / unit..<(place.start + place.count + unit - 1) / unit]
      }
    }
    // In the order in which one process adds them up, whatever the buckets.
    let order = FlatBuckets(exchange.parameters.map(\.value), parts: 1).buckets
      .flatMap(\.places).map(\.index)
    let length = GradientNorm.length(order.flatMap { squares[$0] ?? [] })
    let factor = GradientNorm.factor(length, maximum: maximumNorm)
    if factor < 1 { withoutGradients { for sum in sums { sum.multiplyInPlace(factor) } } }
    return length
  }

  /// Changes this process's slices; ``shareParameters()`` has to follow.
  ///
  /// - Parameter learningRate: Size of the step.
  public func step(learningRate: Double) {
    if memories.isEmpty { copySlices() }
    optimizer.step(learningRate: learningRate)
  }

  /// Takes the slices from the parameters: whatever else changed these counts.
  func copySlices() {
    withoutGradients {
      for slice in slices {
        let value = exchange.parameters[slice.index].value.detached()
        slice.parameter.value.copyInPlace(
          from: value.reshaped([value.count]).narrowed(0, slice.range))
      }
    }
  }

  /// Gives every process the slices of all others; at stage 3 the parameters go away instead.
  ///
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func shareParameters() throws(CollectiveError) {
    if let failure { throw failure }
    guard memories.isEmpty else { return releaseParameters() }
    for (index, bucket) in exchange.buckets.buckets.enumerated() {
      let flat = Tensor.empty([bucket.count], dtype: bucket.dtype)
      try exchange.group.allGather(shards[index], into: flat, "parameters \(index + 1)")
      withoutGradients {
        for place in bucket.places {
          exchange.parameters[place.index].value.copyInPlace(
            from: exchange.buckets.view(flat, place))
        }
      }
    }
  }

  /// Forgets all gradients.
  public func zeroGradients() {
    sums = []
    optimizer.zeroGradients()
    for parameter in exchange.parameters { parameter.value.gradient = nil }
  }

  /// Number of this process, from 0.
  public var rank: Int { exchange.group.rank }

  /// Processes that share it out.
  public var processCount: Int { exchange.group.size }

  /// The state of this process's slices, whose names end in `@` and the first element.
  public var state: [(name: String, tensor: Tensor)] { optimizer.state }

  /// Bytes of parameters that this process keeps between updates: its ranges, at stages 1 and 2 besides the
  /// whole.
  public var parameterByteCount: Int {
    let own = shards.reduce(0) { $0 + $1.byteCount }
    return memories.isEmpty
      ? own + exchange.parameters.reduce(0) { $0 + $1.value.byteCount } : own
  }

  /// Bytes of state that this process keeps.
  public var stateByteCount: Int { optimizer.state.reduce(0) { $0 + $1.tensor.byteCount } }
}
