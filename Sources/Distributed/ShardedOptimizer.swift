public import Collectives
public import Layers
public import Optimizers
public import Tensors

/// An optimiser whose state the processes share out (ZeRO, stages 1 to 3).
///
/// Parameters lie one behind another in flat buckets; each process has one of N equal ranges of each bucket,
/// changes the parameters in it, and gets the others' from them. Ranges begin and end at blocks of 256
/// elements, so that states of 8 bits are those of one process, and everything is elementwise, so that the
/// parameters are, to the last bit.
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
  private let names: [String]
  let shards: [Tensor]
  let slices: [Slice]
  /// At stage 3, once they are shared out: where the parameters of each bucket are when they are whole.
  var memories: [ReservedMemory] = []
  /// The buckets whose parameters are whole.
  var whole: Set<Int> = []
  /// Gatherings of blocks that were begun.
  var gatherings: [Int: Gathering] = [:]
  private let optimizer: any Optimizer
  private var sums: [Tensor] = []

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
    sums = result.sums
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

extension ShardedOptimizer {
  /// Takes this process's slices of the state of a whole optimiser.
  ///
  /// - Parameter saved: Tensors by the names of an optimiser that is not shared out.
  /// - Throws: `OptimizerError` when one is missing or does not fit; nothing is changed then.
  public func load(_ saved: [String: Tensor]) throws(OptimizerError) {
    var own: [String: Tensor] = [:]
    for (name, tensor) in state {
      let key = StateKey(name)
      guard let whole = saved[key.wholeName] else {
        throw .state(name: key.wholeName, reason: "is missing")
      }
      guard let start = key.start, let slice = slice(key.parameter, start) else {
        own[name] = whole
        continue
      }
      let parameter = exchange.parameters[slice.index]
      own[name] = try cut(whole, key, tensor, slice.range, of: parameter.count)
    }
    try optimizer.load(own)
  }

  private func slice(_ name: String, _ start: Int) -> Slice? {
    slices.first { names[$0.index] == name && $0.range.lowerBound == start }
  }

  /// The part of a whole state that belongs to a slice: by elements, or by blocks of elements.
  private func cut(
    _ whole: Tensor, _ key: StateKey, _ own: Tensor, _ range: Range<Int>, of count: Int
  ) throws(OptimizerError) -> Tensor {
    if key.isShared { return whole }
    let unit = key.isOfBlocks ? FlatBuckets.alignment : 1
    let (first, width) = (range.lowerBound / unit, own.size(-1))
    let rows = own.count / max(width, 1)
    let length = (count + unit - 1) / unit
    guard whole.count == rows * length else {
      throw .state(
        name: key.wholeName, reason: "has \(whole.count) elements, expected \(rows * length)")
    }
    return whole.reshaped([rows, length]).narrowed(1, first..<(first + width)).contiguous()
      .reshaped(own.shape)
  }

  /// The state of the whole optimiser, as one that is not shared out has it.
  ///
  /// - Returns: Tensors and their names on rank 0, nothing on others.
  /// - Throws: `CollectiveError` when another process is gone or does something else.
  public func wholeState() throws(CollectiveError) -> [(name: String, tensor: Tensor)] {
    let group = exchange.group
    var pieces: [String: [(start: Int, tensor: Tensor)]] = [:]
    // Process after process, so that rank 0 keeps one copy, and one message of another.
    for source in 0..<group.size {
      let list = try group.allGather(
        group.rank == source
          ? state.map { "\($0.name)\t\($0.tensor.dtype.rawValue)\t\($0.tensor.shape)" }
            .joined(separator: "\n") : "", "names of states")[source]
      for (index, line) in list.split(separator: "\n").enumerated() {
        let fields = line.split(separator: "\t")
        guard fields.count == 3, let dtype = Int32(fields[1]).flatMap(DType.init(rawValue:)) else {
          continue
        }
        let shape = fields[2].dropFirst().dropLast().split(separator: ", ").compactMap { Int($0) }
        let tensor =
          group.rank == source
          ? state[index].tensor.detached().contiguous() : .empty(shape, dtype: dtype)
        try group.broadcast(tensor, from: source, "state of rank \(source)")
        guard group.rank == 0 else { continue }
        let key = StateKey(String(fields[0]))
        pieces[key.wholeName, default: []].append((key.start ?? 0, tensor))
      }
    }
    return pieces.map { name, parts in (name, joined(name, parts.sorted { $0.start < $1.start })) }
  }

  private func joined(_ name: String, _ parts: [(start: Int, tensor: Tensor)]) -> Tensor {
    let key = StateKey(name)
    if key.isShared { return parts[0].tensor }
    let flat = Tensor.concatenated(parts.map(\.tensor), dimension: -1)
    guard !key.isOfBlocks, let index = names.firstIndex(of: key.parameter) else { return flat }
    let shape = exchange.parameters[index].value.shape
    let count = exchange.parameters[index].count
    return flat.reshaped(flat.count == count ? shape : [flat.count / max(count, 1)] + shape)
  }
}

/// The name of a state: the parameter's, possibly the first element of a slice, and what it is.
private struct StateKey {
  let parameter: String
  let start: Int?
  let kind: String

  init(_ name: String) {
    let dot = name.lastIndex(of: ".")
    kind = dot.map { String(name[name.index(after: $0)...]) } ?? name
    let head = dot.map { String(name[..<$0]) } ?? ""
    if let at = head.lastIndex(of: "@"), let number = Int(head[head.index(after: at)...]) {
      parameter = String(head[..<at])
      start = number
    } else {
      parameter = head
      start = nil
    }
  }

  var wholeName: String { parameter.isEmpty ? kind : "\(parameter).\(kind)" }
  /// Whether all slices have the same: counts of steps and tables of codes.
  var isShared: Bool { kind == "step" || kind.hasPrefix("qmap") }
  /// Whether it has one number for each block of elements.
  var isOfBlocks: Bool { kind.hasPrefix("absmax") }
}
