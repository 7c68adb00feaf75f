import Collectives
import Foundation
import TestSupport
import Testing

/// Groups of processes on this machine.
@Suite struct GroupTests {
  private func expectPassed(
    _ results: [GraftProcess.Result], sourceLocation: SourceLocation = #_sourceLocation
  ) {
    for result in results {
      #expect(result.code == 0, "\(result.errors)", sourceLocation: sourceLocation)
    }
  }

  /// What each operation computes is checked by every rank itself; see Tests/CollectivesPeer.
  @Test(arguments: [2, 3, 4]) func operations(_ size: Int) throws {
    let results = try RankProcesses.run(size, ["operations"])
    expectPassed(results)
    #expect(results.map(\.output) == Array(repeating: "passed\n", count: size))
  }

  /// Without a launcher rank 0 opens the store.
  @Test func storeOfRank0() throws {
    let port = 20000 + Int(getpid()) % 20000
    let results = try (0..<2).reversed().map { rank in
      try GraftProcess(
        ["operations"], program: "CollectivesPeer",
        variables: [
          "RANK": "\(rank)", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost",
          "MASTER_PORT": "\(port)",
        ])
    }.map { try $0.wait() }
    expectPassed(results)
  }

  /// Work that is done when the time between two looks at the watchdog is over has not failed.
  @Test func doneAtTheEndOfASlice() throws {
    let results = try RankProcesses.run(2, ["slices"])
    expectPassed(results)
    #expect(results.map(\.output) == ["passed\n", "passed\n"])
  }

  /// One that has announced itself, and gives up or ends before all are connected.
  @Test func goneBeforeItConnects() throws {
    let processes = try RankProcesses(3, ["operations"], present: [1, 2])
    try processes.store.set("graft/0/alive/0", "0|is starting")
    let start = Date()
    for result in try processes.wait() {
      #expect(result.code == 1, "\(result)")
      #expect(result.errors.contains("rank 0 has not answered for 3 s"), "\(result.errors)")
    }
    #expect(Date().timeIntervalSince(start) < 15)
  }

  /// The number of processes does not change a bit when gradients are added in order; otherwise the
  /// last digits.
  @Test func gradientsOfParts() throws {
    func gradients(_ size: Int, _ order: String, _ parts: Int) throws -> [String] {
      let results = try RankProcesses.run(size, ["gradients", order, "\(parts)"])
      expectPassed(results)
      return results.map(\.output)
    }
    for parts in [1, 4, 6] {
      let all = try [2, 3, 4].flatMap { try gradients($0, "ordered", parts) }
      #expect(Set(all).count == 1 && all[0].count > 1000)
      let fast = try [2, 4].map { try gradients($0, "unordered", parts) }
      for outputs in fast { #expect(Set(outputs).count == 1) }
      let (ordered, other) = (try numbers(all[0]), try numbers(fast[1][0]))
      #expect(ordered.count == other.count && ordered.count == 1015)
      for (a, b) in zip(ordered, other) { #expect(abs(a - b) <= 1e-5 * max(abs(a), 1)) }
    }
  }

  private func numbers(_ output: String) throws -> [Float] {
    let lines = output.split(separator: "\n")
    let bits = try #require(lines.last).dropFirst().dropLast().split(separator: ", ")
    return try bits.map { Float(bitPattern: try #require(UInt32($0))) }
  }

  /// A rank that asks for something else is seen by all, at once, and nothing is computed.
  @Test(arguments: ["shape", "dtype", "operation", "extra"]) func divergence(_ way: String) throws {
    let start = Date()
    let results = try RankProcesses.run(3, ["diverge", way])
    #expect(Date().timeIntervalSince(start) < 10)
    for result in results {
      #expect(result.code == 1 && result.output.isEmpty, "\(result)")
      #expect(result.errors.contains("rank 0 asks for 'step', all-reduce (sum) of float32[4]"))
      let other = [
        "shape": "rank 1 asks for 'step', all-reduce (sum) of float32[5]",
        "dtype": "rank 1 asks for 'step', all-reduce (sum) of float64[4]",
        "operation": "rank 1 asks for 'step', broadcast from rank 0",
        "extra": "rank 1 asks for 'step that others do not make'",
      ]
      #expect(result.errors.contains(other[way] ?? "?"), "\(result.errors)")
    }
  }

  /// A rank that is killed or stopped is named by all others within ten seconds.
  @Test(arguments: [SIGKILL, SIGSTOP]) func interference(_ signal: Int32) throws {
    let processes = try RankProcesses(3, ["wait"])
    let end = Date() + 20
    while processes.ranks.contains(where: { $0.outputSoFar.isEmpty }), Date() < end {
      usleep(10_000)
    }
    // What is known of a process is what it said at its last beat.
    usleep(2_500_000)
    let start = Date()
    processes.ranks[1].send(signal)
    for rank in [0, 2] {
      let result = try processes.ranks[rank].wait()
      #expect(Date().timeIntervalSince(start) < 10)
      #expect(result.code == 1 && result.errors.contains("rank 1 has "), "\(result.errors)")
      // What each one waits for.
      for other in [0, 2] {
        #expect(result.errors.contains("rank \(other) asks for 'round'"), "\(result.errors)")
      }
      // It may have been between two operations.
      let last = ["rank 1 asks for 'round'", "rank 1 computes behind its call"]
      #expect(last.contains(where: result.errors.contains), "\(result.errors)")
    }
    processes.ranks[1].send(SIGKILL)
    _ = try processes.ranks[1].wait()
  }

  /// A rank that ends while others wait is named with its reason.
  @Test(arguments: [("exit", "rank 1 has "), ("error", "rank 1 ended with: Trouble")])
  func end(_ way: String, _ words: String) throws {
    let start = Date()
    let results = try RankProcesses.run(3, ["end", way])
    #expect(Date().timeIntervalSince(start) < 10)
    for rank in [0, 2] {
      #expect(results[rank].code == 1 && results[rank].output.isEmpty)
      #expect(results[rank].errors.contains(words), "\(results[rank].errors)")
    }
  }

  /// Ranks that do not come are named.
  @Test func missingRank() throws {
    let processes = try RankProcesses(4, ["operations"], present: [0, 3])
    for result in try processes.wait() {
      #expect(result.code == 1)
      #expect(result.errors.contains("2 of 4 processes did not come within 8 s: rank 1, 2"))
    }
  }

  @Test func twoOfOneRank() throws {
    let processes = try RankProcesses(2, ["operations"], present: [0, 0, 1])
    let results = try processes.wait()
    #expect(results.filter { $0.errors.contains("two processes of rank 0") }.count == 1)
    #expect(results.filter { $0.code == 0 }.count == 2)
  }
}
