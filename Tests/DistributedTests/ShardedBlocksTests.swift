import TestSupport
import Testing

/// Frozen blocks that processes share out; what they do stands in Tests/CollectivesPeer.
@Suite struct ShardedBlocksTests {
  /// The bits of one process, and bytes kept and sent as the formulas say.
  @Test(arguments: ["float32", "transposed", "int8", "tied"])
  func bitsAndBytes(_ kind: String) throws {
    let alone = try GraftProcess.run(["blocks", kind], program: "CollectivesPeer")
    #expect(alone.code == 0, "\(alone.errors)")
    let expected = alone.output.split(separator: "\n").first
    for processes in [2, 3, 4] {
      for own in try RankProcesses.run(processes, ["blocks", kind]) {
        #expect(own.code == 0, "\(own.errors)")
        let lines = own.output.split(separator: "\n")
        try #require(lines.count == 3)
        #expect(lines[0] == expected, "\(processes) processes")
        for line in lines[1...] {
          let numbers = line.split(separator: " ").compactMap { Int($0) }
          #expect(numbers.count == 2 && numbers[0] == numbers[1] && numbers[0] > 0, "\(line)")
        }
      }
    }
  }

  /// Trained blocks too: the bits of one process, bytes as the formula says, with parts that do and do not
  /// share out evenly.
  @Test(arguments: [4, 5]) func trained(_ parts: Int) throws {
    let words = ["trained-blocks", "\(parts)"]
    let alone = try GraftProcess.run(words, program: "CollectivesPeer")
    #expect(alone.code == 0, "\(alone.errors)")
    let expected = alone.output.split(separator: "\n").first
    for processes in [2, 3, 4] {
      for own in try RankProcesses.run(processes, words) {
        #expect(own.code == 0, "\(own.errors)")
        let lines = own.output.split(separator: "\n")
        try #require(lines.count == 2)
        #expect(lines[0] == expected, "\(processes) processes")
        let numbers = lines[1].split(separator: " ").compactMap { Int($0) }
        #expect(numbers.count == 2 && numbers[0] == numbers[1] && numbers[0] > 0, "\(lines[1])")
      }
    }
  }
}
