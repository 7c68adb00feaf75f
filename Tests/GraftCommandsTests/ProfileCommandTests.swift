import Foundation
import JSONValues
import TestSupport
import Testing

/// `graft train --profile`.
@Suite struct ProfileCommandTests {
  @Test func tablesAndTrace() throws {
    try CommandFixture.with { fixture in
      try fixture.train(output: "plain")
      let result = try fixture.train(["--profile"])
      #expect(try fixture.losses() == fixture.losses("plain"))
      for part in ["step 3: ", "model.layers.*.self_attn", "optimizer", "run/profile.json"] {
        #expect(result.output.contains(part), "\(part) is not in: \(result.output)")
      }
      let tables = try String(decoding: fixture.bytes("run/profile.txt"), as: UTF8.self)
      #expect(tables.contains("model.layers.1 "))
      let trace = try JSON.parse(fixture.bytes("run/profile.json"))
      let events = try #require(trace["traceEvents"]?.arrayValue)
      #expect(events.contains { $0["cat"]?.stringValue == "kernel" })
      // How the command is used is no part of the run.
      #expect(try JSON.parse(fixture.bytes("run/recipe.json"))["profile"] == nil)

      let again = try fixture.train(["--overwrite"])
      #expect(!again.output.contains("step 3: "))
      #expect(!fixture.exists("run/profile.json") && !fixture.exists("run/profile.txt"))
    }
  }

  @Test func oneObject() throws {
    try CommandFixture.with { fixture in
      let result = try fixture.train(["--profile", "5", "--json"])
      let profile = try JSON.parse(Data(result.output.utf8))["profile"]
      #expect(profile?["step"]?.intValue == 5)
      let seconds = try #require(profile?["seconds"]?.doubleValue)
      let phases = try #require(profile?["phases"]?.objectValue)
      let sum = phases.reduce(0) { $0 + ($1.value.doubleValue ?? 0) }
      #expect(abs(sum - seconds) < 1e-6)
    }
  }

  @Test func stepsThatAreNone() throws {
    try CommandFixture.with { fixture in
      for (step, mention) in [("7", "the run has 6 steps"), ("0", "profile"), ("x", "profile")] {
        try fixture.expectFailure(
          64, naming: [mention, step], fixture.training(["--profile", step]))
      }
    }
  }

  /// What other families and bases compute is told apart too.
  @Test(arguments: [["--quantize", "int8"], ["--no-fused-layers"], ["--activation-checkpointing"]])
  func otherWays(_ options: [String]) throws {
    try CommandFixture.with { fixture in
      let result = try fixture.train(["--profile", "2", "--max-steps", "2"] + options)
      #expect(result.output.contains("model.layers.*.mlp"), "\(result.output)")
      let tables = try String(decoding: fixture.bytes("run/profile.txt"), as: UTF8.self)
      if options.contains("int8") { #expect(tables.contains("int8_multiply"), "\(tables)") }
    }
  }
}
