import Distributed
import Foundation
import TestSupport
import Testing

/// Loops of one's own by `Accelerator`; what they do stands in Tests/CollectivesPeer.
@Suite struct AcceleratorTests {
  private func outputs(
    _ processes: Int, _ words: [String], sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> [String] {
    let results =
      processes == 1
      ? [try GraftProcess.run(words, program: "CollectivesPeer")]
      : try RankProcesses.run(processes, words)
    for result in results {
      #expect(result.code == 0, "\(result.errors)", sourceLocation: sourceLocation)
    }
    return results.map(\.output)
  }

  /// Every number of an output, in order.
  private func numbers(_ text: String) -> [Double] {
    text.split { " \n[],".contains($0) }.compactMap { Double($0) }
  }

  private func expectClose(
    _ text: String, _ other: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let (a, b) = (numbers(text), numbers(other))
    #expect(a.count == b.count && a.count > 40, "\(text)", sourceLocation: sourceLocation)
    for (x, y) in zip(a, b) {
      #expect(abs(x - y) <= 1e-5 * max(abs(y), 0.1), "\(text)", sourceLocation: sourceLocation)
    }
  }

  /// One process and several compute the same, with 11 rows in batches of 3 and an accumulation that does
  /// not divide the epoch.
  @Test(arguments: [1, 3]) func sameNumbers(_ accumulation: Int) throws {
    let alone = try outputs(1, ["accelerator", "\(accumulation)"])[0]
    // 4 batches an epoch.
    #expect(alone.hasPrefix("\(3 * (accumulation == 1 ? 4 : 2))\n"), "\(alone)")
    for processes in [2, 3, 4] {
      let all = try outputs(processes, ["accelerator", "\(accumulation)"])
      #expect(Set(all).count == 1)
      expectClose(all[0], alone)
    }
  }

  /// Saved by two processes, gone on with by three, in the middle of the second epoch.
  @Test func resumed() throws {
    try withTemporaryDirectory { directory in
      let whole = try outputs(1, ["accelerator", "1"])[0]
      let path = directory + "/state"
      #expect(try outputs(2, ["accelerator", "1", path, "6"]) == ["saved\n", "saved\n"])
      let rest = try outputs(3, ["accelerator", "1", path])
      #expect(Set(rest).count == 1)
      let (a, b) = (rest[0].split(separator: "\n"), whole.split(separator: "\n"))
      #expect(a.count == 8 && a[0] == "12")
      expectClose(a.dropFirst().joined(separator: "\n"), b.dropFirst(7).joined(separator: "\n"))
    }
  }

  @Test(arguments: [2, 3]) func operations(_ processes: Int) throws {
    let all = try outputs(processes, ["accelerator-operations"])
    #expect(all == Array(repeating: "passed\n", count: processes))
  }

  /// By hand: steps 0, 2, 3 and 4 each take 0.125 * 0.5 off; the scale falls once and grows twice.
  @Test func lossScaling() throws {
    for output in try outputs(2, ["scaler"]) {
      #expect(output == "[1024.0, 512.0, 512.0, 1024.0, 1024.0] [0.75, 0.75] 4\n")
    }
  }

  @Test func scalerRules() {
    var scaler = LossScaler(scale: 4, growthInterval: 1, minimum: 2)
    scaler.update(isFinite: false)
    scaler.update(isFinite: false)
    #expect(scaler.scale == 2 && scaler.goodUpdates == 0)
    scaler.update(isFinite: true)
    #expect(scaler.scale == 4)
  }
}
