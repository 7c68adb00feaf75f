import Checkpoints
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

  @Test(arguments: ["int8", "nf4"]) func onAQuantisedBase(_ format: String) throws {
    try CommandFixture.with { fixture in
      let recipe = Self.recipe + ["--quantize", format]
      try fixture.train(recipe, output: "whole")
      let process = try start(fixture, fixture.training(recipe), until: Int.random(in: 10..<200))
      process.send(SIGKILL)
      _ = try process.wait()
      // The recipe says how the base was kept.
      let result = try fixture.graft("train", "--resume", "run")
      #expect(result.code == 0, "\(result.errors)")
      try expectSame(fixture)
    }
  }

  /// A checkpoint has every triplet of AdaLoRA, as masked ones may come back; the adapter has those left.
  @Test func whenRanksAreMasked() throws {
    try CommandFixture.with { fixture in
      let recipe = Self.recipe + ["--method", "adalora"]
      func ranks(_ directory: String) throws -> Int {
        try SafetensorsFile(path: fixture.path(directory + "/adapter_model.safetensors")).entries
          .filter { $0.name.hasSuffix("lora_E") }.reduce(0) { $0 + $1.shape[0] }
      }
      try fixture.train(recipe, output: "whole")
      // 2 blocks of 2 default layers, whose 12 ranks each fall to 4 in the mean.
      #expect(try ranks("whole") == 16)
      let process = try start(fixture, fixture.training(recipe), until: Int.random(in: 60..<200))
      process.send(SIGTERM)
      #expect(try process.wait().code == 75)
      let names = try FileManager.default.contentsOfDirectory(
        atPath: fixture.path("run/checkpoints"))
      let newest = try #require(names.filter { $0.hasPrefix("step-") }.max())
      #expect(try ranks("run/checkpoints/" + newest) == 48)
      let result = try fixture.graft("train", "--resume", "run")
      #expect(result.code == 0, "\(result.errors)")
      try expectSame(fixture)
      #expect(
        try fixture.bytes("run/adapter_config.json") == fixture.bytes("whole/adapter_config.json"))
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

  /// The adapter of a resumed run is the checkpoint's, wherever it came from.
  @Test func adapterFromAFileOrAnotherRun() throws {
    try CommandFixture.with { fixture in
      try fixture.write(
        "peft.json",
        #"{"peft_type": "LORA", "r": 3, "lora_alpha": 5, "lora_dropout": 0.2, "use_rslora": true, "#
          + #""target_modules": ["q_proj", "down_proj"], "rank_pattern": {"down_proj": 2}}"#)
      let train = [
        "train", "--model", "model", "--data", "rows.jsonl", "--max-steps", "300", "--log-every",
        "1", "--batch-size", "4", "--save-every", "5",
      ]
      for (name, more) in [
        ("config", ["--adapter-config", "peft.json"]), ("adapter", ["--adapter", "whole"]),
      ] {
        if name == "config" {
          let whole = try GraftProcess.run(
            train + more + ["--output", "whole"], directory: fixture.directory)
          #expect(whole.code == 0, "\(whole.errors)")
          let recipe = try JSON.parse(fixture.bytes("whole/recipe.json"))
          #expect(recipe["rank"]?.stringValue == "3" && recipe["rslora"]?.stringValue == "true")
        } else {
          _ = try GraftProcess.run(
            train + more + ["--output", "whole2"], directory: fixture.directory)
        }
        let process = try start(fixture, train + more + ["--output", "run"], until: 10)
        process.send(SIGTERM)
        #expect(try process.wait().code == 75)
        // What the run started from may be gone.
        if name == "adapter" {
          try FileManager.default.removeItem(atPath: fixture.path("whole"))
          try FileManager.default.moveItem(
            atPath: fixture.path("whole2"), toPath: fixture.path("whole"))
        } else {
          try FileManager.default.removeItem(atPath: fixture.path("peft.json"))
        }
        let result = try fixture.graft("train", "--resume", "run")
        #expect(result.code == 0, "\(result.errors)")
        try expectSame(fixture)
        try FileManager.default.removeItem(atPath: fixture.path("run"))
      }
    }
  }

  /// A resume that is refused leaves the run as it was.
  @Test func refusedResume() throws {
    try CommandFixture.with { fixture in
      try fixture.train(Self.recipe, output: "whole")
      let process = try start(fixture, fixture.training(Self.recipe), until: 20)
      process.send(SIGTERM)
      #expect(try process.wait().code == 75)
      try fixture.write("other.jsonl", CommandFixture.rows(9))
      let before = try fixture.snapshot("run")
      let checkpoints = try FileManager.default.contentsOfDirectory(
        atPath: fixture.path("run/checkpoints")
      ).sorted()
      let newest = try #require(checkpoints.last)
      for (code, name, more) in [
        (Int32(64), "rank", ["--resume", "run", "--rank", "16"]),
        (64, "target-modules", ["--resume", "run", "--target-modules", "q_proj"]),
        (65, "data", ["--resume", "run", "--data", "other.jsonl"]),
        (65, "data", ["--resume", "run", "--batch-size", "4"]),
        (64, "checkpoint", ["--resume", "run/checkpoints/" + newest]),
        (64, "elsewhere", ["--resume", "run", "--output", "elsewhere"]),
      ] {
        try fixture.expectFailure(code, naming: [name], ["train"] + more)
        #expect(try fixture.snapshot("run") == before, "\(more)")
      }
      let result = try fixture.graft("train", "--resume", "run")
      #expect(result.code == 0, "\(result.errors)")
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
