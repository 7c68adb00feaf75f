import CTorch

/// Something that was computed while a recording ran.
public struct RecordedEvent: Equatable, Sendable {
  /// What it is.
  public enum Kind: Int32, Sendable {
    /// A part of the program.
    case phase
    /// A part of a model.
    case layer
    /// The forward half of a function with a pullback of its own.
    case function
    /// Code of ours on the processor.
    case kernel
    /// An operator of LibTorch.
    case `operator`
    /// A function's backward half, or that of one of LibTorch's operators.
    case node
  }

  /// What it is.
  public var kind: Kind
  /// Its name, without the names of what it is part of.
  public var name: String
  /// Index of the event that it is part of; nil for none.
  public var parent: Int?
  /// Number of its thread; 0 is the one that was recorded, others are of the backward pass.
  public var thread = 0
  /// Nanoseconds from the start of the recording.
  public var time: Range<Int>
  /// Bytes of tensors' memory that it took itself, without its parts.
  public var allocatedBytes = 0
  /// Bytes that were given back in it, without its parts.
  public var freedBytes = 0
  /// Bytes that were taken since the start and not given back, before it began.
  public var heldBefore = 0
  /// The same when it ended.
  public var heldAfter = 0
  /// The most of them meanwhile.
  public var heldMost = 0
  /// Of a node its number, which grows in the order of the forward pass; nil where it has none.
  public var node: Int?
  /// Numbers of the nodes that were made in it.
  public var madeNodes = 0..<0
  /// Multiplications and additions, where they are known.
  public var operations = 0
  /// Of an operator the shapes of the tensors that it got.
  public var shapes: [[Int]] = []

  /// Makes an event that takes no memory.
  ///
  /// - Parameters:
  ///   - kind: What it is.
  ///   - name: Its name.
  ///   - parent: Index of the event that it is part of; nil for none.
  ///   - time: Nanoseconds from the start of the recording.
  public init(_ kind: Kind, _ name: String, parent: Int?, time: Range<Int>) {
    self.kind = kind
    self.name = name
    self.parent = parent
    self.time = time
  }
}

/// What was computed, in the order of beginnings: parts come behind what they are part of.
public struct Recording: Equatable, Sendable {
  /// The events.
  public var events: [RecordedEvent]

  /// Makes a recording.
  ///
  /// - Parameter events: In the order of beginnings; `parent` is an index before an event's own.
  public init(events: [RecordedEvent]) { self.events = events }
}

/// Records what this thread computes, with times and the memory that tensors take.
///
/// Operators of LibTorch, also those that others call, and the backward pass are recorded by LibTorch's own
/// observers, on whichever thread they run; kernels, functions and parts of models by ``withScope``. An
/// operator takes some microseconds longer. Memory that is counted is that of LibTorch's allocators: not
/// what libraries take for their own use, nor mapped files.
///
/// - Parameter body: What to record. It must not be recorded already.
/// - Returns: What `body` returns, and the recording.
public func recorded<Result>(
  _ body: () throws -> Result
) rethrows -> (result: Result, recording: Recording) {
  var started: ctorch_recording?
  check(ctorch_recording_start(&started), "recorded")
  guard let handle = started else { preconditionFailure("recorded: no recording") }
  defer { ctorch_recording_release(handle) }
  let result: Result
  do {
    defer { check(ctorch_recording_stop(handle), "recorded") }
    result = try body()
  }
  let events = (0..<ctorch_recording_count(handle)).map {
    RecordedEvent(ctorch_recording_event(handle, $0))
  }
  return (result, Recording(events: events))
}

extension RecordedEvent {
  fileprivate init(_ event: ctorch_event) {
    guard let kind = Kind(rawValue: event.kind) else {
      preconditionFailure("recorded: an event of kind \(event.kind)")
    }
    self.init(
      kind, String(cString: event.name), parent: event.parent < 0 ? nil : Int(event.parent),
      time: Int(event.begin)..<Int(event.end))
    thread = Int(event.thread)
    (allocatedBytes, freedBytes) = (Int(event.allocated), Int(event.freed))
    (heldBefore, heldAfter) = (Int(event.held_before), Int(event.held_after))
    heldMost = Int(event.held_most)
    node = event.node < 0 ? nil : Int(event.node)
    madeNodes = Int(event.first_node)..<max(Int(event.first_node), Int(event.end_node))
    shapes = Self.shapes(UnsafeBufferPointer(start: event.sizes, count: Int(event.size_count)))
    operations =
      event.operations > 0 ? Int(event.operations) : Self.operations(of: name, shapes)
  }

  private static func shapes(_ sizes: UnsafeBufferPointer<Int64>) -> [[Int]] {
    var result: [[Int]] = []
    var rest = sizes[...]
    while let rank = rest.popFirst() {
      result.append(rest.prefix(Int(rank)).map { Int($0) })
      rest = rest.dropFirst(Int(rank))
    }
    return result
  }

  /// Multiplications and additions of LibTorch's products of matrices; 0 for other operators.
  private static func operations(of name: String, _ shapes: [[Int]]) -> Int {
    func product(_ left: [Int], _ right: [Int]) -> Int {
      guard let columns = right.last else { return 0 }
      return 2 * left.reduce(1, *) * columns
    }
    switch name {
    case "aten::mm" where shapes.count > 1: return product(shapes[0], shapes[1])
    case "aten::bmm" where shapes.count > 1: return product(shapes[0], shapes[1])
    case "aten::addmm" where shapes.count > 2, "aten::addmm_" where shapes.count > 2:
      return product(shapes[1], shapes[2])
    case "aten::baddbmm" where shapes.count > 2, "aten::baddbmm_" where shapes.count > 2:
      return product(shapes[1], shapes[2])
    case "mkldnn::_linear_pointwise" where shapes.count > 1:
      // x, W and perhaps a bias; or x, a sum and W.
      let weight = shapes.count > 2 && shapes[2].count == 2 ? shapes[2] : shapes[1]
      return 2 * shapes[0].reduce(1, *) * (weight.first ?? 0)
    default: return 0
    }
  }
}
