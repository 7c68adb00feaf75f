import Foundation
import TestSupport
import Testing

/// Optimisers' states that processes save and read, a share each.
///
/// What they do stands in Tests/CollectivesPeer. One run after another, as each process has to answer
/// within seconds.
@Suite(.serialized) struct SavingTests {
  private func run(
    _ processes: Int, _ words: [String], expecting code: Int32 = 0,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> [GraftProcess.Result] {
    let results =
      processes == 1
      ? [try GraftProcess.run(words, program: "CollectivesPeer")]
      : try RankProcesses.run(processes, words)
    for result in results {
      try #require(result.code == code, "\(result.errors)", sourceLocation: sourceLocation)
    }
    return results
  }

  /// The files of a directory by name.
  private func files(_ directory: String) throws -> [String: Data] {
    var found: [String: Data] = [:]
    for name in try FileManager.default.contentsOfDirectory(atPath: directory) {
      found[name] = FileManager.default.contents(atPath: directory + "/" + name)
    }
    return found
  }

  private func lines(_ result: GraftProcess.Result) -> [String] {
    result.output.split(separator: "\n").map(String.init)
  }

  private static let shares = (1...3).map { "optimizer-0000\($0)-of-00003.safetensors" }

  /// What three processes wrote is read by one, two and four, with other cuts, to the last bit.
  @Test(arguments: ["adamw", "adamw-8bit", "ademamix-8bit", "lamb"])
  func anyNumberOfProcesses(_ optimizer: String) throws {
    try withTemporaryDirectory { directory in
      let alone = lines(try run(1, ["sharded", "0", optimizer, "5"])[0])
      let saved = directory + "/saved"
      let all = try run(3, ["sharded", "2", optimizer, "5", saved])
      #expect(lines(all[0])[0] == alone[0])
      // Nothing was sent.
      for result in all { #expect(lines(result)[3] == "0") }
      #expect(try files(saved).keys.sorted() == Self.shares + ["optimizer.safetensors"])
      let states = try #require(alone[0].range(of: "] ").map { alone[0][$0.upperBound...] })
      #expect(states.contains("layer.3."))
      for (stage, processes) in [(0, 1), (1, 2), (3, 4)] {
        let read = try run(
          processes, ["reshare", "\(stage)", optimizer, saved, directory + "/other"])
        #expect(lines(read[0]) == [String(states)], "\(processes) processes")
      }
    }
  }

  /// A process on another disk sends its share to rank 0, whose files are the same.
  @Test func anotherDisk() throws {
    try withTemporaryDirectory { directory in
      let words = ["sharded", "1", "lamb-8bit", "3"]
      _ = try run(3, words + [directory + "/together"])
      let apart = try run(3, words + [directory + "/apart", "1"])
      for (rank, result) in apart.enumerated() {
        // All of what the process keeps.
        #expect(lines(result)[3] == (rank == 1 ? lines(result)[1] : "0"))
      }
      let found = try files(directory + "/apart")
      #expect(found.count == 4)
      #expect(try found == files(directory + "/together"))
    }
  }

  /// All processes end with an error that names the file; what was there before stays, and nothing else.
  @Test(arguments: [
    ("limit", "saved/optimizer-00002-of-00003.safetensors"),
    ("forwarded", "saved/optimizer-00002-of-00003.safetensors"),
    ("rest", "saved/model.safetensors"), ("parent", "saved/optimizer.safetensors"),
  ])
  func failures(_ way: String, _ file: String) throws {
    try withTemporaryDirectory { directory in
      let saved = directory + "/saved"
      _ = try run(3, ["sharded", "1", "adamw", "3", saved])
      let before = try files(saved)
      for result in try run(3, ["save-fails", way, saved], expecting: 1) {
        #expect(result.errors.contains(file), "\(result.errors)")
      }
      #expect(try files(saved) == before)
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["saved"])
    }
  }
}
