public import Distributed
public import Tensors

/// Where the time and the memory of one update went, by phase, layer and kernel.
///
/// Each nanosecond counts for one event only, the innermost: the parts of any division add up to the whole
/// step. What the backward pass does counts for the layer whose forward pass made the node of the graph;
/// what is computed again in it (activation checkpointing) is part of it.
public struct StepProfile: Sendable {
  /// Names of the phases of an update.
  public enum Phase: String, CaseIterable, Sendable {
    /// The whole update; what is no other phase's.
    case step
    /// Batches are put together.
    case data
    /// From the batch to the loss.
    case forward
    /// From the loss to the gradients.
    case backward
    /// Waits for gradients that go to other processes and come from them.
    case exchange
    /// Gradients are measured and shortened.
    case clipping
    /// Parameters are changed.
    case optimizer
  }

  /// One event with its place.
  public struct Entry: Sendable {
    /// What was recorded.
    public let event: RecordedEvent
    /// The innermost phase that it is part of.
    public let phase: Phase
    /// Names of the layers around it, outermost first; of a node those around what made it.
    public let layers: [String]
    /// Nanoseconds that none of its parts took.
    public internal(set) var ownTime: Int
  }

  /// Number of the update, from 1.
  public let step: Int
  /// Every event in the order of beginnings.
  public let entries: [Entry]
  /// Nanoseconds of the whole update.
  public let duration: Int
  /// The most bytes of tensors at a time, without those that were there before the update.
  public let heldMost: Int
  /// How gradients were exchanged with other processes; nil for one process.
  public internal(set) var exchange: DataParallel.Overlap?

  /// Gives every event of an update its place.
  ///
  /// - Parameters:
  ///   - step: Number of the update.
  ///   - recording: Recorded during the update. Phases are those of ``Phase``; others count for the one
  ///     around them.
  public init(step: Int, _ recording: Recording) {
    let events = recording.events
    // Layers that made nodes: the last one that a node lies in is the innermost.
    let makers = events.indices.filter {
      events[$0].kind == .layer && !events[$0].madeNodes.isEmpty
    }
    // The engine's work counts for the layer of the node that it is around.
    var numbers = events.map(\.node)
    for event in events where event.kind == .node {
      if let parent = event.parent, events[parent].kind == .engine { numbers[parent] = event.node }
    }
    var entries: [Entry] = []
    entries.reserveCapacity(events.count)
    for (index, event) in events.enumerated() {
      let outer = event.parent.map { entries[$0] }
      var layers = outer?.layers ?? []
      switch event.kind {
      case .layer: layers.append(event.name)
      case .node, .engine:
        if let node = numbers[index],
          let maker = makers.last(where: {
            $0 < entries.count && events[$0].madeNodes.contains(node)
          })
        {
          layers = entries[maker].layers
        }
      default: break
      }
      let named = event.kind == .phase ? Phase(rawValue: event.name) : nil
      entries.append(
        Entry(
          event: event, phase: named ?? outer?.phase ?? .step, layers: layers,
          ownTime: event.time.count))
      // On another thread it is no part of its parent's own time.
      if let parent = event.parent, events[parent].thread == event.thread {
        entries[parent].ownTime -= event.time.count
      }
    }
    self.step = step
    self.entries = entries
    duration = entries.filter { $0.event.parent == nil }.reduce(0) { $0 + $1.event.time.count }
    heldMost = events.map(\.heldMost).max() ?? 0
  }
}

extension StepProfile {
  /// Time and memory of some events.
  public struct Sum: Equatable, Sendable {
    /// What they have in common.
    public let name: String
    /// Nanoseconds in the forward phase.
    public internal(set) var forward = 0
    /// Nanoseconds in the backward phase.
    public internal(set) var backward = 0
    /// Nanoseconds in all phases.
    public internal(set) var total = 0
    /// Events.
    public internal(set) var count = 0
    /// Bytes of tensors that were taken, whether they were given back or not.
    public internal(set) var allocatedBytes = 0
    /// Bytes that were taken in the forward phase and still held at its end.
    public internal(set) var keptBytes = 0
    /// Multiplications and additions, where they are known.
    public internal(set) var operations = 0

    init(_ name: String) { self.name = name }

    mutating func add(_ entry: Entry) {
      total += entry.ownTime
      count += 1
      operations += entry.event.operations
      switch entry.phase {
      case .forward: forward += entry.ownTime
      case .backward: backward += entry.ownTime
      default: break
      }
    }
  }

  /// Sums of events that a key tells apart, in the order of their first events.
  private func sums(_ key: (Int, Entry) -> [String]) -> [Sum] {
    var places: [String: Int] = [:]
    var result: [Sum] = []
    for (index, entry) in entries.enumerated() {
      for name in key(index, entry) {
        let place = places[name] ?? result.count
        if place == result.count {
          places[name] = place
          result.append(Sum(name))
        }
        result[place].add(entry)
        result[place].allocatedBytes += entry.event.allocatedBytes
        // The scope itself says what stays of all that is in it.
        if entry.event.kind == .layer, entry.phase == .forward, name == path(entry.layers).last {
          result[place].keptBytes += entry.event.heldAfter - entry.event.heldBefore
        }
      }
    }
    return result
  }

  /// Time and memory of each phase.
  public var phases: [Sum] { sums { [$1.phase.rawValue] } }

  /// Time and memory of each part of the model, blocks of a kind together.
  ///
  /// Parts count for what they are part of, too. What is in no layer is named "".
  public var layers: [Sum] {
    sums { _, entry in
      guard entry.phase == .forward || entry.phase == .backward else { return [] }
      return entry.layers.isEmpty ? [""] : path(entry.layers)
    }
  }

  /// The same for each block alone.
  public var blocks: [Sum] {
    sums { _, entry in
      guard entry.phase == .forward || entry.phase == .backward,
        let depth = entry.layers.firstIndex(where: { Self.pattern($0) != $0 })
      else { return [] }
      return [entry.layers[...depth].joined(separator: ".")]
    }.map { block in
      var block = block
      block.keptBytes = entries.reduce(0) { sum, entry in
        entry.event.kind == .layer && entry.phase == .forward
          && entry.layers.joined(separator: ".") == block.name
          ? sum + entry.event.heldAfter - entry.event.heldBefore : sum
      }
      return block
    }
  }

  /// Time and memory of each kernel and operator, the slowest first.
  ///
  /// The time between them is named "". Memory that an operator has another one take for it is its own.
  public var kernels: [Sum] {
    var found = sums { _, entry in [isComputation(entry) ? entry.event.name : ""] }
    for index in found.indices { found[index].allocatedBytes = 0 }
    let places = Dictionary(uniqueKeysWithValues: found.enumerated().map { ($1.name, $0) })
    for entry in entries {
      var owner = entry
      while Self.allocators.contains(owner.event.name), let parent = owner.event.parent,
        isComputation(entries[parent])
      {
        owner = entries[parent]
      }
      let name = isComputation(owner) ? owner.event.name : ""
      if let place = places[name] { found[place].allocatedBytes += entry.event.allocatedBytes }
    }
    return found.sorted { $0.total > $1.total }
  }

  /// Operators that take memory for others.
  private static let allocators: Set = [
    "aten::empty", "aten::empty_strided", "aten::empty_like", "aten::resize_", "aten::new_empty",
  ]

  private func isComputation(_ entry: Entry) -> Bool {
    entry.event.kind == .kernel || entry.event.kind == .operator
  }

  /// Names of a part and all that it is part of, outermost first, with "*" for the number of a block.
  private func path(_ layers: [String]) -> [String] {
    var result: [String] = []
    for layer in layers {
      result.append((result.last.map { $0 + "." } ?? "") + Self.pattern(layer))
    }
    return result
  }

  private static func pattern(_ name: String) -> String {
    name.split(separator: ".", omittingEmptySubsequences: false)
      .map { !$0.isEmpty && $0.allSatisfy(\.isNumber) ? "*" : String($0) }
      .joined(separator: ".")
  }
}
