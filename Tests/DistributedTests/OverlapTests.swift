import TestSupport
import Testing

/// Gradients that travel while the backward pass goes on; what is done stands in Tests/CollectivesPeer.
@Suite struct OverlapTests {
  /// The bits of an exchange behind the pass, and messages that were done before it was over.
  @Test(arguments: [2, 3]) func travels(_ processes: Int) throws {
    // By stage and order.
    var done = Array(repeating: 0, count: 6)
    for own in try RankProcesses.run(processes, ["overlap"]) {
      #expect(own.code == 0, "\(own.errors)")
      let lines = own.output.split(separator: "\n").map { line in
        line.split(separator: " ").compactMap { Int($0) }
      }
      try #require(lines.count == 6)
      for (number, line) in lines.enumerated() {
        let (stage, isOrdered) = (number / 2, number % 2 == 0)
        // Three rounds, of which the last one has a part for rank 0 alone.
        let rounds = isOrdered || stage == 2 ? 3 : 1
        // The last block with the long one, the others, and what is in no block.
        #expect(line[0] == 3 * rounds && line[2] == rounds, "\(line)")
        #expect(line[3] == 0)
        done[number] += line[1]
      }
    }
    // In each round with a pass on all processes the last of them finds the others' messages there; the last
    // round has a pass on one.
    for (number, count) in done.enumerated() {
      let (stage, isOrdered) = (number / 2, number % 2 == 0)
      #expect(count >= (isOrdered || stage == 2 ? 2 : 1), "stage \(stage): \(done)")
    }
  }

  @Test func late() throws {
    for own in try RankProcesses.run(2, ["late"]) {
      #expect(own.code == 1 && own.errors.contains("tensor 0 got a gradient when"), "\(own.errors)")
    }
  }
}
