import CKernels
import Dispatch
import Synchronization
import Tensors

#if canImport(Darwin)
  import Darwin
#elseif canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Threads that do short work together, over and over.
///
/// LibTorch's threads all meet at the end of each work. A step of generation has more than a hundred of
/// them, and where other programs want the processor too, waiting for a thread that is not running is most
/// of the time. Here whoever runs takes the next piece, and the caller waits only for pieces that somebody
/// has begun.
package final class WorkTeam: Sendable {
  /// The team of the process; its threads sleep while there is no work.
  package static let shared = WorkTeam()

  /// Whether somebody's work is being done.
  private let isTaken = Atomic<Bool>(false)
  /// Number of the work, how many pieces it has, and the next one to be taken: 24, 20 and 20 bits, so
  /// that one exchange takes a piece of the work that was looked at, and of no other.
  private let ticket = Atomic<UInt64>(0)
  private let finished = Atomic<Int>(0)
  /// The address of a `Body`, which lives until all pieces are finished.
  private let body = Atomic<UInt>(0)
  private let helpers = Mutex<[Helper]>([])

  private final class Body: Sendable {
    let run: @Sendable (Int) -> Void
    init(_ run: @escaping @Sendable (Int) -> Void) { self.run = run }
  }

  private final class Helper: Sendable {
    let isAsleep = Atomic<Bool>(false)
    let call = DispatchSemaphore(value: 0)
  }

  private static let bits: UInt64 = 20
  private static let mask: UInt64 = 1 << bits - 1
  /// Looks for work before a helper goes to sleep, some tens of microseconds.
  private static let patience = 2000
  /// Pieces for each thread, so that a late one holds up little.
  private static let share = 4

  private init() {}

  /// Splits a range over the threads.
  ///
  /// Where another caller has the team, LibTorch's threads do it.
  ///
  /// - Parameters:
  ///   - range: What to go through.
  ///   - grain: Least size of a part.
  ///   - part: Gets disjoint parts, at the same time on several threads; must not call the team.
  package func run(
    _ range: Range<Int>, grain: Int, _ part: @escaping @Sendable (Range<Int>) -> Void
  ) {
    let threads = Runtime.threadCount
    guard range.count > grain, threads > 1 else {
      if !range.isEmpty { part(range) }
      return
    }
    guard !isTaken.exchange(true, ordering: .acquiring) else {
      return Runtime.parallelFor(range, grain: grain, part)
    }
    defer { isTaken.store(false, ordering: .releasing) }
    let wanted = min(threads * Self.share, Int(Self.mask))
    let size = max(grain, (range.count + wanted - 1) / wanted)
    let body = Body { piece in
      let begin = range.lowerBound + piece * size
      part(begin..<min(begin + size, range.upperBound))
    }
    withExtendedLifetime(body) {
      self.body.store(
        UInt(bitPattern: Unmanaged.passUnretained(body).toOpaque()), ordering: .relaxed)
      share(pieces: (range.count + size - 1) / size, threads)
    }
  }

  private func share(pieces: Int, _ threads: Int) {
    finished.store(0, ordering: .relaxed)
    let number = (ticket.load(ordering: .relaxed) >> (2 * Self.bits)) &+ 1
    ticket.store(
      number << (2 * Self.bits) | UInt64(pieces) << Self.bits,
      ordering: .sequentiallyConsistent)
    wake(threads - 1)
    while let piece = take() { finish(piece) }
    var looks = 0
    while finished.load(ordering: .acquiring) < pieces {
      looks += 1
      // A helper that does not run in the midst of a piece may need this processor.
      if looks < Self.patience { graft_pause() } else { sched_yield() }
    }
  }

  /// Makes sure that there are so many helpers and that they look for work.
  private func wake(_ count: Int) {
    helpers.withLock { helpers in
      while helpers.count < count {
        let helper = Helper()
        helpers.append(helper)
        DispatchQueue(label: "graft.work-team", qos: .userInitiated).async { self.help(helper) }
      }
      for helper in helpers.prefix(count)
      where helper.isAsleep.load(ordering: .sequentiallyConsistent) {
        if helper.isAsleep.exchange(false, ordering: .sequentiallyConsistent) {
          helper.call.signal()
        }
      }
    }
  }

  private func help(_ helper: Helper) {
    var looks = 0
    while true {
      if let piece = take() {
        finish(piece)
        looks = 0
        continue
      }
      looks += 1
      if looks < Self.patience {
        graft_pause()
        continue
      }
      looks = 0
      helper.isAsleep.store(true, ordering: .sequentiallyConsistent)
      // Work that came in between: its caller may not have seen that this thread wants to sleep.
      if hasPieces, helper.isAsleep.exchange(false, ordering: .sequentiallyConsistent) { continue }
      helper.call.wait()
    }
  }

  private var hasPieces: Bool {
    let state = ticket.load(ordering: .sequentiallyConsistent)
    return state & Self.mask < state >> Self.bits & Self.mask
  }

  /// The next piece of the work at hand.
  private func take() -> Int? {
    var state = ticket.load(ordering: .acquiring)
    while true {
      let next = state & Self.mask
      guard next < state >> Self.bits & Self.mask else { return nil }
      let (taken, seen) = ticket.weakCompareExchange(
        expected: state, desired: state + 1, ordering: .acquiringAndReleasing)
      if taken { return Int(next) }
      state = seen
    }
  }

  /// Does a piece that was taken.
  private func finish(_ piece: Int) {
    guard let body = UnsafeRawPointer(bitPattern: body.load(ordering: .relaxed)) else { return }
    Unmanaged<Body>.fromOpaque(body).takeUnretainedValue().run(piece)
    finished.wrappingAdd(1, ordering: .releasing)
  }
}
