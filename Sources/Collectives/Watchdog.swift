import Foundation
import Synchronization

/// Tells the other processes what this one does, and finds out which of them do no more.
///
/// A thread writes a record with a counter into the store twice a second and reads the records of the
/// next two ranks, so that the work for a process does not grow with their number. A rank whose counter
/// stands still is reported under one key, which all read: the first report is everybody's. What stands
/// still is counted in beats of the own thread, so that a run whose processes are stopped and continued
/// together (a shell's job control) goes on.
final class Watchdog: Sendable {
  /// Seconds between two beats.
  static let beat = 0.5

  private struct State {
    var activity = "is starting"
    var beats = 0
    var failure: CollectiveError?
    var stops = false
  }

  private let rank: Int
  private let size: Int
  private let prefix: String
  /// Beats without news after which a rank is reported.
  private let patience: Int
  private let store: RendezvousStore
  private let state = Mutex(State())
  private let isOver = DispatchSemaphore(value: 0)

  /// Makes one that uses a connection which nobody else waits on; a rank may be silent for some seconds.
  init(store: RendezvousStore, prefix: String, rank: Int, size: Int, seconds: Double) {
    self.store = store
    self.prefix = prefix
    self.rank = rank
    self.size = size
    patience = max(2, Int((seconds / Self.beat).rounded(.up)))
  }

  /// Writes the first record; to be called before any other rank can look for it.
  func announce() throws(CollectiveError) { try store.set(key(rank), record(0, "is starting")) }

  /// Begins to watch; every rank must have announced itself.
  func start() {
    let thread = Thread { [self] in
      watch()
      isOver.signal()
    }
    thread.name = "graft watchdog"
    thread.start()
  }

  /// What this process does, as others read it behind "rank 3 ".
  var activity: String {
    get { state.withLock { $0.activity } }
    set { state.withLock { $0.activity = newValue } }
  }

  /// What was found.
  var failure: CollectiveError? { state.withLock { $0.failure } }

  /// Beats so far; they stop when the store does not answer.
  var beats: Int { state.withLock { $0.beats } }

  /// Ends the thread, after it has told the others that this process leaves.
  func leave() {
    state.withLock { $0.stops = true }
    // A store that does not answer must not keep this process.
    guard isOver.wait(timeout: .now() + 2) == .success else { return }
    try? store.set(key(rank), Self.left)
  }

  /// Tells the others why this process ends; what was reported before stays.
  ///
  /// It does not wait longer than a few beats for a store that may be gone too.
  func report(_ reason: String) {
    let done = DispatchSemaphore(value: 0)
    let thread = Thread { [self] in
      claim(reason)
      done.signal()
    }
    thread.start()
    _ = done.wait(timeout: .now() + 2)
  }

  // MARK: - The thread

  private static let left = "left"

  private func key(_ rank: Int) -> String { "\(prefix)alive/\(rank)" }

  private func record(_ beats: Int, _ activity: String) -> String { "\(beats)|\(activity)" }

  private func watch() {
    let neighbours = Set([1, 2].map { (rank + $0) % size }).subtracting([rank])
    var last: [Int: (text: String, silence: Int)] = [:]
    while true {
      let (stops, activity, beats) = state.withLock { state in
        state.beats += 1
        return (state.stops, state.activity, state.beats)
      }
      if stops { return }
      do throws(CollectiveError) {
        try store.set(key(rank), record(beats, activity))
        if failure == nil {
          for other in neighbours {
            let text = try store.get(key(other))
            let silence = last[other].map { $0.text == text ? $0.silence + 1 : 0 } ?? 0
            last[other] = (text, silence)
            if text != Self.left, silence >= patience { claim(silent(other)) }
          }
          if try store.has(prefix + "failure") { try adopt() }
        }
      } catch {
        state.withLock { $0.failure = $0.failure ?? .peer(reason: "\(error)", states: []) }
        return
      }
      // Leaving must not wait for the rest of the beat.
      for _ in 0..<10 where !state.withLock({ $0.stops }) {
        Thread.sleep(forTimeInterval: Self.beat / 10)
      }
    }
  }

  private func silent(_ rank: Int) -> String {
    "rank \(rank) has not answered for \(Int(Double(patience) * Self.beat)) s: it was killed or "
      + "stopped, or its machine is gone"
  }

  /// Puts a reason where all read it, unless there is one.
  private func claim(_ reason: String) {
    guard (try? store.add(1, to: prefix + "claims")) == 1 else { return }
    try? store.set(prefix + "failure", reason)
  }

  /// Takes over what was reported, with what every rank did last.
  private func adopt() throws(CollectiveError) {
    let reason = try store.get(prefix + "failure")
    var states: [String] = []
    for other in 0..<size { states.append(Self.activity(of: try store.get(key(other)))) }
    state.withLock { $0.failure = $0.failure ?? .peer(reason: reason, states: states) }
  }

  private static func activity(of record: String) -> String {
    guard let bar = record.firstIndex(of: "|") else { return "has left" }
    return String(record[record.index(after: bar)...])
  }

  // MARK: - After a broken connection

  /// Finds out who broke a connection: those whose counters stand still for four beats.
  ///
  /// - Parameter message: The connection's own words, for when nobody is found.
  /// - Returns: What was found, the same on every rank unless several processes end at once.
  func diagnose(_ message: String) -> CollectiveError {
    let begin = beats
    var (before, beatBefore) = ([String](), begin)
    // The own beats tell the time, and a store that does not answer stops them.
    for _ in 0..<(20 * patience) where beats - begin < 2 * patience {
      if let failure { return failure }
      Thread.sleep(forTimeInterval: Self.beat / 5)
      let beat = beats
      guard before.isEmpty || beat >= beatBefore + 4 else { continue }
      guard let now = try? (0..<size).map({ try store.get(key($0)) }) else { break }
      for other in 0..<size where other != rank && !before.isEmpty && now[other] == before[other] {
        claim(
          now[other] == Self.left
            ? "rank \(other) has left while others were not done"
            : "rank \(other) has ended or was stopped without a word")
      }
      (before, beatBefore) = (now, beat)
    }
    return failure
      ?? .peer(reason: "an operation failed, though all ranks are there: \(message)", states: [])
  }
}
