import Collectives
import Dispatch
import Synchronization
import Tensors

/// How far the exchange of an update's gradients is.
///
/// The caller sends buckets, the group's background exchanges them one after another; what it finds may be
/// read behind ``wait()``.
final class ExchangeProgress: @unchecked Sendable {  // The background has it while it is at work.
  /// What becomes of a bucket.
  enum Kind {
    /// Each process gets all sums, which Gloo adds up in its own order.
    case sums
    /// Each process gets all sums, added up in the order of parts.
    case orderedSums
    /// Each process gets its range of the sums.
    case shares
  }

  private struct Counts {
    var overlap = DataParallel.Overlap()
    var isPassing = false
  }

  private let group: ProcessGroup
  private let kind: Kind
  private let sequence: [Int]
  private let counts = Mutex(Counts())
  /// For each bucket its sums, or the own range of them.
  private(set) var found: [Tensor?]
  /// Whether this process has had a gradient of a parameter.
  var present: [Bool]
  /// Blocks that the pass of this round has left.
  var passed: Set<Int> = []
  /// Buckets that were sent in this round.
  private(set) var sent: ArraySlice<Int> = []
  /// Whether gradients are exchanged behind this round and not only added up.
  private(set) var isExchanged = false
  private(set) var error: CollectiveError?
  private var (round, contributors, isLast) = (0, 0, false)

  init(
    _ group: ProcessGroup, _ kind: Kind, _ sequence: [Int], bucketCount: Int, parameterCount: Int
  ) {
    (self.group, self.kind, self.sequence) = (group, kind, sequence)
    found = Array(repeating: nil, count: bucketCount)
    present = Array(repeating: false, count: parameterCount)
  }

  /// Buckets that are still to be sent in this round, in their order.
  var rest: ArraySlice<Int> { sequence[sent.count...] }

  /// Whether a pass is under way.
  var isPassing: Bool { counts.withLock { $0.isPassing } }

  /// What was counted so far.
  var overlap: DataParallel.Overlap { counts.withLock { $0.overlap } }

  /// Begins the pass of a round.
  func begin(_ round: Int, contributors: Int, isExchanged: Bool, isLast: Bool) {
    (self.round, self.contributors, self.isLast) = (round, contributors, isLast)
    (self.isExchanged, passed, sent) = (isExchanged, [], [])
    counts.withLock { $0.isPassing = true }
  }

  /// Notes that the pass of the round is over.
  func endPass() { counts.withLock { $0.isPassing = false } }

  /// Lets the background exchange a bucket, the next of the order.
  func send(_ gradients: Tensor, _ index: Int) {
    precondition(rest.first == index, "ExchangeProgress: bucket \(index) out of turn")
    sent = sequence[..<(sent.count + 1)]
    group.background.async { [self] in
      guard error == nil else { return }
      counts.withLock {
        $0.overlap.messages += 1
        if $0.isPassing { $0.overlap.begun += 1 }
      }
      let begin = ContinuousClock.now
      do throws(CollectiveError) { try exchange(gradients, index) } catch { self.error = error }
      let time = ContinuousClock.now - begin
      counts.withLock {
        $0.overlap.seconds += time / .seconds(1)
        if $0.isPassing { $0.overlap.ended += 1 }
      }
    }
  }

  private func exchange(_ gradients: Tensor, _ index: Int) throws(CollectiveError) {
    let label = "gradients \(index + 1)"
    guard kind != .sums else {
      try group.allReduce(gradients, .sum, label)
      found[index] = gradients
      return
    }
    let own = try group.orderedReduceScatter(
      gradients, of: contributors, onto: found[index], "\(label), round \(round + 1)")
    found[index] = own
    guard kind == .orderedSums, isLast else { return }
    let whole = Tensor.empty([gradients.count], dtype: gradients.dtype)
    try group.allGather(own, into: whole, label)
    found[index] = whole
  }

  /// Waits until all that was sent is exchanged.
  func wait() {
    let begin = ContinuousClock.now
    group.background.sync {}
    let time = ContinuousClock.now - begin
    counts.withLock { $0.overlap.waited += time / .seconds(1) }
  }
}

extension DataParallel {
  /// How much of an exchange of gradients went on while the backward passes did.
  public struct Overlap: Equatable, Sendable {
    /// Messages of all rounds.
    public var messages = 0
    /// Those that this process began while a pass was under way.
    public var begun = 0
    /// Those that were exchanged before the pass was over.
    public var ended = 0
    /// Seconds that they took, from the own beginning: with the time in which others had not begun.
    public var seconds = 0.0
    /// Seconds for which the process waited for them behind its passes.
    public var waited = 0.0
  }
}
