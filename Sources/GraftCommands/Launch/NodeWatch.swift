import Collectives
import Foundation
import Synchronization

/// Exchanges failures with the launchers of other machines, on a thread of its own.
///
/// A store on a machine that is gone does not answer, not even with an error; the thread then stands still,
/// and whoever looks at it does not.
final class NodeWatch: Sendable {
  private struct State {
    var own: String?
    var other: String?
    var lastAnswer = ContinuousClock.now
    var stops = false
  }

  private let store: RendezvousStore
  private let key: String
  private let state = Mutex(State())

  /// Begins to watch one attempt.
  init(_ store: RendezvousStore, attempt: Int) {
    self.store = store
    key = "launch/\(attempt)/failure"
    let thread = Thread { [self] in watch() }
    thread.start()
  }

  /// Tells the others of a failure here.
  func report(_ failure: String) { state.withLock { $0.own = $0.own ?? failure } }

  /// What failed elsewhere, once.
  func takeFailure() -> String? {
    state.withLock { state in
      if let other = state.other {
        state.other = nil
        state.stops = true
        return other
      }
      guard !state.stops, state.lastAnswer.duration(to: .now) > .seconds(8) else { return nil }
      state.stops = true
      return "the launcher of node 0 at \(store.host):\(store.port) has not answered for 8 s"
    }
  }

  /// Ends the thread, after what is to be told has been told if the store answers within a second.
  func end() {
    for _ in 0..<20 where state.withLock({ $0.own != nil }) { usleep(50_000) }
    state.withLock { $0.stops = true }
  }

  private func watch() {
    while !state.withLock({ $0.stops }) {
      do {
        if let own = state.withLock({ $0.own }) {
          if try store.add(1, to: key + "/claims") == 1 { try store.set(key, own) }
          state.withLock { $0.own = nil }
          return
        }
        if try store.has(key) {
          let text = try store.get(key)
          state.withLock { $0.other = text }
          return
        }
        state.withLock { $0.lastAnswer = .now }
      } catch {
        state.withLock { $0.other = "the launcher of node 0 is gone: \(error)" }
        return
      }
      usleep(250_000)
    }
  }
}
