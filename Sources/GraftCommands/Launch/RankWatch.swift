import Foundation

/// Which ranks have ended, which of them was the cause, and how the others are ended.
struct RankWatch {
  private let ranks: [RankProcess]
  private var ended: [RankProcess] = []
  private var failureTime: ContinuousClock.Instant?
  private var signalsSent = 0

  init(ranks: [RankProcess]) { self.ranks = ranks }

  /// Ranks that have ended since the last question.
  mutating func newlyEnded() -> [RankProcess] {
    let known = Set(ended.map(\.rank))
    let new = ranks.filter { !known.contains($0.rank) && !$0.isRunning }
    ended += new
    if firstFailure != nil { beginEnding() }
    return new
  }

  /// The rank that ended first with an error.
  var firstFailure: RankProcess? { ended.first(where: isFailure) }

  /// The rank whose end was not brought about by another one's, or the first that ended.
  ///
  /// Ranks that this process had to end do not count, as they ended after the first failure.
  var cause: RankProcess? {
    ended.first { isFailure($0) && $0.code != ExitCode.peerGone.rawValue && !wasEnded($0) }
      ?? firstFailure
  }

  /// From now on the ranks that are left have to end.
  mutating func beginEnding() { failureTime = failureTime ?? .now }

  /// Asks and then makes the rest end when their time is over.
  ///
  /// - Parameters:
  ///   - grace: Seconds in which they may end by themselves.
  ///   - patience: Seconds between asking and making.
  mutating func end(after grace: Double, by patience: Double) {
    guard let failureTime else { return }
    let waited = failureTime.duration(to: .now)
    if waited > .seconds(grace + patience) {
      for rank in ranks { rank.send(SIGKILL) }
      signalsSent = 2
    } else if waited > .seconds(grace), signalsSent == 0 {
      for rank in ranks { rank.send(SIGTERM) }
      signalsSent = 1
    }
  }

  private func isFailure(_ rank: RankProcess) -> Bool {
    rank.code != 0 && rank.code != ExitCode.stoppedWithCheckpoint.rawValue
      && rank.code != ExitCode.stoppedWithoutCheckpoint.rawValue
  }

  private func wasEnded(_ rank: RankProcess) -> Bool {
    signalsSent > 0 && [-SIGTERM, -SIGKILL].contains(rank.code)
  }
}
