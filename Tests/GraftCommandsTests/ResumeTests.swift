import Foundation
import JSONValues
import TestSupport
import Testing

/// Runs that are killed or stopped go on to the same numbers, to the last bit.
@Suite struct ResumeTests {
  static let recipe = [
    "--max-steps", "300", "--save-every", "7", "--dropout", "0.1", "--schedule", "cosine",
    "--warmup-steps", "4", "--gradient-accumulation", "2", "--batch-size", "2",
  ]

  /// Starts a run and waits until it has logged a step.
  private func start(
    _ fixture: CommandFixture, _ arguments: [String], until step: Int
  ) throws -> GraftProcess {
    let process = try GraftProcess(arguments, directory: fixture.directory)
    while process.isRunning {
      let last = try? fixture.metrics().last?["step"]?.intValue
      if let last, last >= step { break }
      usleep(500)
    }
    return process
  }

  private func expectSame(_ fixture: CommandFixture, _ name: String = "run") throws {
    let (expected, actual) = (try fixture.metrics("whole"), try fixture.metrics(name))
    for key in ["step", "loss", "gradient_norm", "learning_rate", "tokens", "epoch"] {
      #expect(actual.map { $0[key] } == expected.map { $0[key] }, "\(key)")
    }
    let file = "adapter_model.safetensors"
    #expect(try fixture.bytes("\(name)/\(file)") == fixture.bytes("whole/\(file)"))
  }

  @Test func killedAtAnyMoment() throws {
    try CommandFixture.with { fixture in
      try fixture.train(Self.recipe, output: "whole")
      #expect(try Set(fixture.losses("whole")).count > 100)
      var landed = 0
      // Before the first checkpoint, and at several moments of one run.
      let moments = [1, 2] + (0..<6).map { _ in Int.random(in: 3..<270) }.sorted()
      for (index, moment) in moments.enumerated() {
        let words = fixture.training(Self.recipe) + (index == 0 ? [] : ["--resume"])
        let process = try start(fixture, words, until: moment)
        usleep(UInt32.random(in: 0..<3000))
        process.send(SIGKILL)
        if try process.wait().code == -SIGKILL { landed += 1 }
        let names =
          (try? FileManager.default.contentsOfDirectory(atPath: fixture.path("run/checkpoints")))
          ?? []
        for name in names where name.hasPrefix("step-") {
          for file in ["adapter_model.safetensors", "optimizer.safetensors", "state.json"] {
            #expect(fixture.exists("run/checkpoints/\(name)/\(file)"), "\(name) is not whole")
          }
        }
      }
      #expect(landed >= 4, "after \(moments)")
      // The run's own recipe is enough to go on.
      let result = try fixture.graft("train", "--resume", "run")
      #expect(result.code == 0, "\(result.errors)")
      try expectSame(fixture)
    }
  }

  @Test(arguments: [SIGINT, SIGTERM]) func stoppedBySignal(_ signal: Int32) throws {
    try CommandFixture.with { fixture in
      try fixture.train(Self.recipe, output: "whole")
      let process = try start(fixture, fixture.training(Self.recipe), until: 10)
      process.send(signal)
      let result = try process.wait()
      #expect(result.code == 75, "\(result.errors)")
      #expect(result.errors.contains("--resume run"))
      let last = try #require(fixture.metrics().last?["step"]?.intValue)
      #expect((10..<300).contains(last))
      // The signal's own checkpoint is the newest.
      #expect(result.errors.contains("stopped after step \(last)"))
      let moved = try fixture.graft("train", "--resume", "run")
      #expect(moved.code == 0 && moved.errors.contains("after step \(last)"), "\(moved.errors)")
      try expectSame(fixture)
    }
  }

  @Test func movedRunAndChangedRecipe() throws {
    try CommandFixture.with { fixture in
      try fixture.train(Self.recipe, output: "whole")
      let process = try start(fixture, fixture.training(Self.recipe), until: 20)
      process.send(SIGTERM)
      #expect(try process.wait().code == 75)
      try FileManager.default.moveItem(atPath: fixture.path("run"), toPath: fixture.path("moved"))
      let result = try fixture.graft("train", "--resume", "moved", "--save-every", "50")
      #expect(result.code == 0, "\(result.errors)")
      #expect(result.errors.contains("save-every: 7 before, 50 now"), "\(result.errors)")
      #expect(!fixture.exists("run"))
      try expectSame(fixture, "moved")
    }
  }
}
