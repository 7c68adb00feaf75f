import Layers
import Synchronization
import Tensors
import Testing

/// Every element is done once, whoever does it.
@Suite struct WorkTeamTests {
  private final class Counts: Sendable {
    let values = Mutex<[Int]>([])
  }

  /// Several callers at the same time: one has the team, the others go on without it.
  @Test(arguments: 0..<4) func everythingOnce(_ seed: Int) {
    for round in 0..<200 {
      let (count, grain) = (1 + (round * 37 + seed * 11) % 500, 1 + round % 7)
      let counts = Counts()
      counts.values.withLock { $0 = Array(repeating: 0, count: count + 3) }
      WorkTeam.shared.run(3..<count + 3, grain: grain) { part in
        counts.values.withLock { values in
          for index in part { values[index] += 1 }
        }
      }
      #expect(
        counts.values.withLock { $0 } == [0, 0, 0] + Array(repeating: 1, count: count))
    }
    WorkTeam.shared.run(5..<5, grain: 1) { _ in Issue.record("there is nothing to do") }
  }
}
