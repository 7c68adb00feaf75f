import CTorch
import Dispatch
import Foundation

/// Connecting the processes by Gloo, which waits for each of them for as long as its operations may take;
/// so a thread of its own does it, and is left behind where another process is gone.
final class GlooConnection: @unchecked Sendable {  // Read behind the signal.
  private let world: World
  private let isOver = DispatchSemaphore(value: 0)
  private var made: ctorch_group?
  private var error = ""

  /// Milliseconds after which Gloo itself gives up; the watchdog is there long before.
  private static let operationTimeout: Int64 = 24 * 3600 * 1000

  /// Begins.
  ///
  /// - Parameters:
  ///   - world: Place of this process.
  ///   - store: Where addresses are exchanged; nobody else uses this connection meanwhile.
  ///   - prefix: How keys begin.
  ///   - address: Where this process listens, or the interface.
  ///   - isInterface: Whether `address` is the name of an interface.
  init(
    _ world: World, _ store: RendezvousStore, prefix: String, address: String, isInterface: Bool
  ) {
    self.world = world
    let thread = Thread { [self] in
      let status = ctorch_group_gloo(
        store.handle, prefix, Int32(world.rank), Int32(world.size), address, isInterface,
        Self.operationTimeout, &made)
      if status != 0 { error = lastCollectiveError() }
      isOver.signal()
    }
    thread.name = "graft connecting"
    thread.start()
  }

  /// Waits for the group.
  ///
  /// - Parameters:
  ///   - timeout: How long the others may take.
  ///   - check: Asked ten times a second whether another process is gone.
  /// - Returns: The group, which is the caller's.
  /// - Throws: ``CollectiveError/rendezvous(place:reason:)``, and what `check` throws.
  func wait(
    _ timeout: Duration, check: () throws(CollectiveError) -> Void
  ) throws(CollectiveError) -> ctorch_group {
    let place = "\(world.host):\(world.port)"
    let end = ContinuousClock.now + timeout
    while isOver.wait(timeout: .now() + .milliseconds(100)) == .timedOut {
      try check()
      guard ContinuousClock.now < end else {
        throw .rendezvous(
          place: place,
          reason: "rank \(world.rank) was not connected with all others within "
            + "\(timeout.components.seconds) s")
      }
    }
    guard let made else {
      throw .rendezvous(place: place, reason: "rank \(world.rank): \(error)")
    }
    return made
  }
}
