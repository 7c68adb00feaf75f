import Foundation
import JSONValues
import TestSupport
import Testing

/// `graft inspect --targets`.
@Suite struct InspectCommandTests {
  @Test func targets() throws {
    try CommandFixture.with { fixture in
      let listed = try fixture.graft("inspect", "model", "--targets")
      #expect(listed.code == 0)
      let lines = listed.output.split(separator: "\n").map { $0.split(separator: " ") }
      #expect(lines.contains(["q_proj", "2", "16", "x", "16", "64"]))
      #expect(lines.contains(["k_proj", "2", "8", "x", "16", "48"]))
      #expect(lines.contains(["lm_head", "1", "260", "x", "16", "276", "output", "head"]))
      #expect(lines.contains(["default", "(q_proj,v_proj)", "112"]))
      let json = try JSON.parse(try fixture.graft("inspect", "model", "--targets", "--json").output)
      #expect(json["modules"]?.arrayValue?.count == 8)
      let perRank = try #require(json["parameters_per_rank"]?["all-linear"]?.intValue)
      // What it says is what training says.
      let trained = try fixture.train(["--rank", "3", "--target-modules", "all-linear"])
      #expect(trained.errors.contains("trainable params: \(spelled(3 * perRank)) "))
      try fixture.expectFailure(
        64, naming: ["--targets", "adapter"], ["inspect", "run", "--targets"])
    }
  }

  @Test func misspeltTargetsGetTheNearest() throws {
    try CommandFixture.with { fixture in
      try fixture.expectFailure(
        64, naming: ["did you mean q_proj by q_pro?", "gate_proj"],
        fixture.training(["--target-modules", "q_pro,v_proj"]))
    }
  }

  private func spelled(_ number: Int) -> String {
    number < 1000
      ? "\(number)"
      : "\(number / 1000)," + String(repeating: "0", count: 3 - "\(number % 1000)".count)
        + "\(number % 1000)"
  }
}
