import Foundation
import Synchronization
import Tensors
import Testing

@Suite struct RuntimeTests {
  /// Disjoint parts that make up the range, on as many threads as there are.
  @Test func `a range is split over threads`() {
    let before = Runtime.threadCount
    Runtime.threadCount = 2
    defer { Runtime.threadCount = before }
    for (range, grain, threads) in [
      (5..<10_005, 100, 2), (0..<2, 1, 2), (7..<100, 1000, 1), (0..<1, 1, 1), (3..<3, 1, 0),
    ] {
      let seen = Mutex<(parts: [Range<Int>], threads: Set<UInt>)>(([], []))
      Runtime.parallelFor(range, grain: grain) { part in
        seen.withLock {
          $0.parts.append(part)
          $0.threads.insert(UInt(pthread_self()))
        }
      }
      let found = seen.withLock { $0 }
      let parts = found.parts.sorted { $0.lowerBound < $1.lowerBound }
      #expect(found.threads.count == threads, "\(range)")
      #expect(parts.flatMap { Array($0) } == Array(range))
      #expect(parts.dropLast().allSatisfy { $0.count >= grain })
    }
  }
}
