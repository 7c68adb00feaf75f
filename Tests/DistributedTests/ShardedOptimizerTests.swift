import TestSupport
import Testing

/// Optimisers that are shared out; what they do stands in Tests/CollectivesPeer.
@Suite struct ShardedOptimizerTests {
  private func run(
    _ processes: Int, _ words: [String], sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> [[String]] {
    let words = ["sharded"] + words
    let results =
      processes == 1
      ? [try GraftProcess.run(words, program: "CollectivesPeer")]
      : try RankProcesses.run(processes, words)
    for result in results {
      #expect(result.code == 0, "\(result.errors)", sourceLocation: sourceLocation)
    }
    return results.map { $0.output.split(separator: "\n").map(String.init) }
  }

  /// Elements with those that fill up: parameters of 5250, 5, 8192 and 12297 elements.
  private static let aligned = 5376 + 256 + 8192 + 12544

  /// To the last bit those of one process, parameters and saved state, with 5 parts of an update.
  @Test(arguments: ["adamw", "ademamix-8bit", "lamb", "lars", "lamb-8bit", "lars-8bit"])
  func sameBits(_ optimizer: String) throws {
    let alone = try run(1, ["0", optimizer, "5"])[0]
    #expect(alone[0].contains("layer.3."))
    for (stage, processes) in [("0", 2), ("1", 3), ("2", 2), ("3", 2), ("3", 4)] {
      try withTemporaryDirectory { directory in
        let all = try run(processes, [stage, optimizer, "5", directory + "/saved"])
        #expect(all[0][0] == alone[0], "stage \(stage) with \(processes) processes")
        let parameters = alone[0].prefix { $0 != "]" }
        for other in all { #expect(other[0].hasPrefix(parameters)) }
      }
    }
  }

  /// Lengths of whole parameters cost 16 bytes for each 256 elements of a process's ranges, to each other
  /// process.
  @Test(arguments: [2, 4]) func sumsOfLAMB(_ processes: Int) throws {
    let unit = 256 * processes
    let share = (Self.aligned + unit - 1) / unit * 256
    let plain = try run(processes, ["2", "adam", "\(processes)"])
    let limited = try run(processes, ["2", "lamb", "\(processes)"])
    for (own, other) in zip(limited, plain) {
      let more = (Int(own[2]) ?? 0) - (Int(other[2]) ?? 0)
      #expect(more == share / 256 * 16 * (processes - 1), "\(own) \(other)")
    }
  }

  /// Bytes that are kept and sent equal the formulas, for N processes and R rounds of parts, with T bytes of
  /// parameters: state 2 T / N; gradients R T (N - 1) / N; squares 8 / 256 / 4 T / N to each other process;
  /// parameters T / N to each other process, behind the update or, at stage 3, before it.
  @Test(arguments: [2, 4]) func formulas(_ processes: Int) throws {
    let unit = 256 * processes
    let bytes = 4 * ((Self.aligned + unit - 1) / unit * unit)
    for (stage, parts) in [("1", processes), ("2", 2 * processes), ("3", 2 * processes)] {
      let all = try run(processes, [stage, "adamw", "\(parts)"])
      let rounds = parts / processes
      let others = processes - 1
      let share = bytes / processes
      // The losses of R parts, a flag and one word of presence; whether stages are named does not count.
      let record = 8 * (rounds + 2) * others
      let expected = rounds * share * others + share / 128 * others + share * others + record
      for own in all { #expect(own[2] == "\(expected)", "\(own)") }
      // Each process keeps two numbers for each element of its range that is one of a parameter, and the step.
      let kept = all.compactMap { Int($0[1]) }
      #expect(kept.allSatisfy { $0 <= 2 * share + 8 })
      #expect(kept.reduce(0, +) == 8 * (5250 + 5 + 8192 + 12297) + 8 * processes, "\(kept)")
    }
  }
}
