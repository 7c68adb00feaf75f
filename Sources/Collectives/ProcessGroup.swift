import CTorch
package import Dispatch
import Foundation
import Tensors

/// The processes of a run, connected with each other.
///
/// Every operation has to be asked for by all processes, in the same order, with tensors of the same
/// type and size. Before each one they compare what they ask for, which costs a small gathering, so
/// that a difference is an error on all of them and never a wrong number; and while one waits, a thread
/// looks after the others (``join(_:patience:rendezvousTimeout:)``). After an error the group is of no
/// more use.
///
/// One thread at a time may call operations.
public final class ProcessGroup: @unchecked Sendable {  // Its user keeps to one thread.
  /// Number of this process, from 0.
  public let rank: Int
  /// Processes of the group.
  public let size: Int
  /// The place of this process.
  public let world: World
  /// Connection to the store of the run, whose keys of other attempts are there too.
  public let store: RendezvousStore
  /// Where operations may be asked for while the caller computes, one after the other; it asks for none
  /// itself until they are done.
  package let background = DispatchQueue(label: "graft.collectives")
  /// What was sent since the start.
  public internal(set) var traffic = Traffic()

  private let group: ctorch_group
  private let watchdog: Watchdog
  private var callCount = 0
  private var isOver = false
  /// Whether it was left by an error: what another thread still asks for is one then, too.
  private var isAbandoned = false

  private init(
    world: World, store: RendezvousStore, group: ctorch_group, watchdog: Watchdog
  ) {
    self.world = world
    self.store = store
    self.group = group
    self.watchdog = watchdog
    (rank, size) = (world.rank, world.size)
  }

  /// Finds the other processes and connects with them.
  ///
  /// - Parameters:
  ///   - world: Place of this process.
  ///   - patience: Seconds that another process may be silent before it is reported.
  ///   - rendezvousTimeout: How long the others may take to arrive.
  /// - Returns: The group.
  /// - Throws: ``CollectiveError/rendezvous(place:reason:)``, which names the ranks that did not arrive;
  ///   ``CollectiveError/peer(reason:states:)`` when one is gone before all are connected. Threads may
  ///   still wait then: end the process by `_exit`.
  public static func join(
    _ world: World, patience: Double = 5, rendezvousTimeout: Duration = .seconds(120)
  ) throws(CollectiveError) -> ProcessGroup {
    let place = "\(world.host):\(world.port)"
    let store = try RendezvousStore(
      host: world.host, port: world.port, opens: world.opensStore && world.rank == 0,
      timeout: rendezvousTimeout)
    let second = try RendezvousStore(
      host: world.host, port: world.port, opens: false, timeout: .seconds(10))
    let prefix = "graft/\(world.attempt)/"
    if try store.add(1, to: "\(prefix)arrivals/\(world.rank)") > 1 {
      throw .rendezvous(
        place: place, reason: "there are two processes of rank \(world.rank) of \(world.size)")
    }
    let watchdog = Watchdog(
      store: second, prefix: prefix, rank: world.rank, size: world.size, seconds: patience)
    try watchdog.announce()
    try awaitAll(world, second, prefix, rendezvousTimeout)

    let interface = ProcessInfo.processInfo.environment["GLOO_SOCKET_IFNAME"] ?? ""
    let isLocal = world.localSize == world.size
    let address =
      !interface.isEmpty
      ? interface
      : isLocal ? "127.0.0.1" : try LocalAddress.facing(world.host, port: world.port)
    // From here on a rank that is gone is noticed, also one that gave up when others had come.
    watchdog.activity = "connects with the others"
    watchdog.start()
    let connection = GlooConnection(
      world, store, prefix: prefix + "gloo", address: address, isInterface: !interface.isEmpty)
    let made = try connection.wait(rendezvousTimeout) { () throws(CollectiveError) in
      if let failure = watchdog.failure { throw failure }
    }
    watchdog.activity = "computes and has asked for nothing yet"
    return ProcessGroup(world: world, store: store, group: made, watchdog: watchdog)
  }

  private static func awaitAll(
    _ world: World, _ store: RendezvousStore, _ prefix: String, _ timeout: Duration
  ) throws(CollectiveError) {
    let end = ContinuousClock.now + timeout
    var missing = Array(0..<world.size)
    while true {
      var still: [Int] = []
      for rank in missing where try !store.has("\(prefix)alive/\(rank)") { still.append(rank) }
      missing = still
      if missing.isEmpty { return }
      guard ContinuousClock.now < end else {
        let names = missing.prefix(8).map(String.init).joined(separator: ", ")
        throw .rendezvous(
          place: "\(world.host):\(world.port)",
          reason: "\(missing.count) of \(world.size) processes did not come within "
            + "\(timeout.components.seconds) s: rank \(names)\(missing.count > 8 ? ", ..." : "")")
      }
      Thread.sleep(forTimeInterval: 0.02)
    }
  }

  /// Waits until all processes are done, and leaves.
  ///
  /// - Throws: ``CollectiveError`` when another process is gone or does not leave.
  public func leave() throws(CollectiveError) {
    guard !isOver else { return }
    try barrier("leaving")
    isOver = true
    watchdog.leave()
    ctorch_group_release(group)
  }

  /// Tells the others that this process ends, and why; to be called when it does so by an error.
  ///
  /// - Parameter error: What ends it.
  public func abandon(because error: any Error) {
    guard !isOver else { return }
    (isAbandoned, isOver) = (true, true)
    // What another process has done is not this one's doing.
    if error is CollectiveError { return }
    watchdog.report("rank \(rank) ended with: \(error)")
  }

  /// Throws what was found out about other processes since the last operation.
  ///
  /// - Throws: ``CollectiveError/peer(reason:states:)``.
  public func check() throws(CollectiveError) {
    if let failure = watchdog.failure { throw failure }
  }

  // MARK: - Operations

  /// Asks for an operation and waits until it is done.
  func perform(
    _ label: String, _ operation: String, _ tensor: Tensor, sentBytes: Int,
    _ start: (ctorch_group, inout ctorch_work?) -> ctorch_status
  ) throws(CollectiveError) {
    if isAbandoned {
      throw .peer(reason: "rank \(rank) has given up and does not do '\(label)'", states: [])
    }
    precondition(!isOver, "ProcessGroup: '\(label)' after the group was left")
    precondition(
      tensor.device == .cpu && tensor.isContiguous,
      "ProcessGroup: '\(label)' needs a contiguous tensor on the processor, found \(tensor.shape) on "
        + "\(tensor.device)")
    try check()
    callCount += 1
    let call = CollectiveCall(
      label: label, operation: operation, dtype: tensor.dtype, count: tensor.count,
      number: callCount)
    watchdog.activity = call.description
    try agree(call)
    traffic.add(operation: operation, for: label, bytes: sentBytes)
    try wait(start)
    watchdog.activity = "computes behind its call \(callCount), '\(label)'"
  }

  /// Compares what the processes ask for.
  private func agree(_ call: CollectiveCall) throws(CollectiveError) {
    let own = Tensor(call.record)
    let all = Tensor.empty([size * CollectiveCall.recordCount], dtype: .uint8)
    try wait { ctorch_group_all_gather($0, all.handle, own.handle, &$1) }
    withExtendedLifetime((own, all)) {}
    let bytes = all.array(of: UInt8.self)
    let records = (0..<size).map { rank in
      bytes[(rank * CollectiveCall.recordCount)..<((rank + 1) * CollectiveCall.recordCount)]
    }
    guard records.allSatisfy({ $0.elementsEqual(records[0]) }) else {
      throw .diverged(calls: records.map(CollectiveCall.description))
    }
  }

  private func wait(
    _ start: (ctorch_group, inout ctorch_work?) -> ctorch_status
  ) throws(CollectiveError) {
    var started: ctorch_work?
    guard start(group, &started) == 0, let work = started else {
      throw watchdog.diagnose(lastCollectiveError())
    }
    defer { ctorch_work_release(work) }
    var (isDone, beats, silence) = (false, watchdog.beats, 0)
    while true {
      guard ctorch_work_wait(work, Self.slice, &isDone) == 0 else {
        throw watchdog.diagnose(lastCollectiveError())
      }
      if isDone { return }
      try check()
      let now = watchdog.beats
      (silence, beats) = (now == beats ? silence + 1 : 0, now)
      if silence * Int(Self.slice) > 8000 {
        throw .peer(
          reason:
            "the store at \(store.host):\(store.port) has not answered for 8 s: the process that "
            + "opened it (rank 0 or the launcher) was killed or stopped, or its machine is gone",
          states: [])
      }
    }
  }

  /// Milliseconds between two looks at the watchdog.
  private static let slice: Int64 = 100
}
