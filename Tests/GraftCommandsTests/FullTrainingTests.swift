import Checkpoints
import Foundation
import JSONValues
import Tensors
import TestSupport
import Testing

/// `graft train --method full`.
@Suite struct FullTrainingTests {
  private static let words = [
    "train", "--model", "model", "--data", "rows.jsonl", "--method", "full", "--batch-size", "4",
    "--learning-rate", "3e-3", "--log-every", "1",
  ]

  private func train(
    _ fixture: CommandFixture, _ more: [String], output: String = "run", expecting code: Int32 = 0,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let result = try GraftProcess.run(
      Self.words + ["--output", output] + more, directory: fixture.directory)
    #expect(result.code == code, "\(result.errors)", sourceLocation: sourceLocation)
  }

  @Test(arguments: [true, false]) func writesAModel(_ isTied: Bool) throws {
    var tiny = TinyModel()
    tiny.tiesEmbeddings = isTied
    try CommandFixture.with(tiny) { fixture in
      try train(fixture, ["--max-steps", "8", "--eval-data", "rows.jsonl"])
      for name in [
        "config.json", "model.safetensors", "tokenizer.json", "recipe.json", "metrics.jsonl",
      ] {
        #expect(fixture.exists("run/" + name), "\(name)")
      }
      #expect(!fixture.exists("run/adapter_config.json"))
      let losses = try fixture.losses()
      #expect(try #require(losses.last) < losses[0])
      // Every weight has moved, and there are no others.
      let before = try SafetensorsFile(path: fixture.path("model/model.safetensors"))
      let after = try SafetensorsFile(path: fixture.path("run/model.safetensors"))
      #expect(Set(before.entries.map(\.name)) == Set(after.entries.map(\.name)))
      for entry in before.entries {
        let moved = try after.tensor(#require(after[entry.name]))
        #expect(try !moved.isEqual(to: before.tensor(entry)), "\(entry.name)")
      }
      // It is a model for every verb, with the loss that the run ended with.
      let generated = try fixture.graft(
        "generate", "--model", "run", "--prompt", "row 1:", "--max-new-tokens", "4")
      #expect(generated.code == 0, "\(generated.errors)")
      let loss = try fixture.evaluatedLoss("--model", "run")
      let last = try fixture.metrics().compactMap { $0["eval_loss"]?.doubleValue }.last
      #expect(try abs(loss - #require(last)) < 1e-5)
      // And a base for the next run, whose files do not mix with this one's.
      let again = try GraftProcess.run(
        Self.words + ["--output", "next", "--model", "run", "--max-steps", "2"],
        directory: fixture.directory)
      #expect(again.code == 0, "\(again.errors)")
      let recipe = try JSON.parse(fixture.bytes("next/recipe.json"))
      #expect(recipe["model"]?.stringValue?.hasSuffix("/run") == true)
      #expect(recipe["method"] == "full")
    }
  }

  @Test func extractedItIsNearTheModel() throws {
    try CommandFixture.with { fixture in
      try train(fixture, ["--max-steps", "20"])
      let result = try fixture.graft(
        "extract", "--base", "model", "--tuned", "run", "--rank", "16", "--output", "adapter",
        "--keep-other-parameters")
      #expect(result.code == 0, "\(result.errors)")
      let tuned = try fixture.evaluatedLoss("--model", "run")
      // Full rank and the norms and embeddings with it: nothing is lost.
      let extracted = try fixture.evaluatedLoss("--model", "model", "--adapter", "adapter")
      #expect(abs(extracted - tuned) < 1e-3)
      #expect(try fixture.evaluatedLoss("--model", "model") > tuned + 0.1)
    }
  }

  @Test func killedOrStoppedItGoesOn() throws {
    try CommandFixture.with { fixture in
      let recipe = [
        "--max-steps", "200", "--save-every", "7", "--schedule", "cosine", "--warmup-steps", "4",
        "--gradient-accumulation", "2", "--batch-size", "2",
      ]
      try train(fixture, recipe, output: "whole")
      for signal in [SIGKILL, SIGTERM] {
        let process = try GraftProcess(
          Self.words + ["--output", "run"] + recipe, directory: fixture.directory)
        let moment = Int.random(in: 10..<150)
        while process.isRunning {
          let last = try? fixture.metrics().last?["step"]?.intValue
          if let last, last >= moment { break }
          usleep(500)
        }
        process.send(signal)
        #expect(try process.wait().code == (signal == SIGKILL ? -SIGKILL : 75))
        // A checkpoint is a model too.
        let names = try FileManager.default.contentsOfDirectory(
          atPath: fixture.path("run/checkpoints"))
        let newest = try #require(names.filter { $0.hasPrefix("step-") }.sorted().last)
        let generated = try fixture.graft(
          "generate", "--model", "run/checkpoints/" + newest, "--prompt", "a", "--max-new-tokens",
          "2")
        #expect(generated.code == 0, "\(generated.errors)")
        let result = try fixture.graft("train", "--resume", "run")
        #expect(result.code == 0, "\(result.errors)")
        let (expected, actual) = (try fixture.metrics("whole"), try fixture.metrics("run"))
        for key in ["step", "loss", "gradient_norm"] {
          #expect(actual.map { $0[key] } == expected.map { $0[key] }, "\(key)")
        }
        #expect(
          try fixture.bytes("run/model.safetensors") == fixture.bytes("whole/model.safetensors"))
        try FileManager.default.removeItem(atPath: fixture.path("run"))
      }
    }
  }

  /// GPT-2's matrices stand in files as [inputs, outputs].
  @Test func transposedWeightsGoOn() throws {
    var tiny = TinyModel()
    tiny.isGPT2 = true
    try CommandFixture.with(tiny) { fixture in
      let recipe = ["--max-steps", "6", "--save-every", "3", "--keep", "2"]
      try train(fixture, recipe, output: "whole")
      try train(fixture, recipe)
      // As if it had been killed after its first checkpoint.
      try FileManager.default.removeItem(atPath: fixture.path("run/checkpoints/step-00000006"))
      let result = try fixture.graft("train", "--resume", "run")
      #expect(result.code == 0, "\(result.errors)")
      #expect(try fixture.losses() == fixture.losses("whole"))
      #expect(
        try fixture.bytes("run/model.safetensors") == fixture.bytes("whole/model.safetensors"))
      let before = try SafetensorsFile(path: fixture.path("model/model.safetensors"))
      let after = try SafetensorsFile(path: fixture.path("run/model.safetensors"))
      for entry in before.entries { #expect(after[entry.name]?.shape == entry.shape) }
    }
  }

  @Test func anotherRunIsReplacedOnlyWhenAsked() throws {
    try CommandFixture.with { fixture in
      try train(fixture, ["--max-steps", "2"])
      let before = try fixture.snapshot("run")
      try fixture.expectFailure(
        73, naming: ["run", "--overwrite"], Self.words + ["--output", "run", "--max-steps", "2"])
      #expect(try fixture.snapshot("run") == before)
      try train(fixture, ["--max-steps", "3", "--overwrite"])
      #expect(try fixture.metrics().count == 3)
      // A model that no run made is nobody's to replace.
      try fixture.expectFailure(
        73, naming: ["model"],
        Self.words + ["--output", "model", "--max-steps", "2", "--overwrite"])
    }
  }

  @Test func whatItDoesNotHaveIsRefused() throws {
    try CommandFixture.with { fixture in
      for (option, value) in [
        ("rank", "4"), ("alpha", "3"), ("target-modules", "q_proj"), ("quantize", "nf4"),
        ("adapter", "model"), ("bias", "all"), ("dropout", "0.1"),
      ] {
        try fixture.expectFailure(
          64, naming: ["--\(option)", "full"],
          Self.words + ["--output", "run", "--\(option)", value])
      }
      try fixture.expectFailure(
        64, naming: ["did you mean full"],
        ["train", "--model", "model", "--data", "rows.jsonl", "--output", "run", "--method", "ful"])
      // A model that is stored in codes.
      let quantized = try fixture.graft(
        "quantize", "--model", "model", "--format", "nf4", "--output", "codes")
      #expect(quantized.code == 0, "\(quantized.errors)")
      try fixture.expectFailure(
        64, naming: ["quantised", "q_proj"],
        Self.words + ["--output", "run", "--model", "codes"])
    }
  }
}
