import Foundation
import JSONValues
import TestSupport
import Testing

@Suite struct TrainCommandTests {
  @Test func writesWhatTheContractSays() throws {
    try CommandFixture.with { fixture in
      let result = try fixture.train(["--eval-data", "rows.jsonl", "--eval-every", "3", "--json"])
      let summary = try JSON.parse(Data(result.output.utf8))
      #expect(summary["steps"]?.intValue == 6)
      for file in ["adapter_config.json", "adapter_model.safetensors", "recipe.json"] {
        #expect(fixture.exists("run/" + file), "\(file)")
      }
      let rows = try fixture.metrics()
      let keys = [
        "step", "epoch", "loss", "learning_rate", "gradient_norm", "tokens", "tokens_per_second",
        "seconds", "peak_memory_bytes",
      ]
      let steps = rows.filter { $0["loss"] != nil }
      #expect(steps.map { $0["step"]?.intValue } == [1, 2, 3, 4, 5, 6])
      for row in steps { for key in keys { #expect(row[key]?.doubleValue != nil, "\(key)") } }
      let evaluations = rows.filter { $0["eval_loss"] != nil }
      #expect(evaluations.map { $0["step"]?.intValue } == [3, 6])
      let first = try #require(steps.first?["loss"]?.doubleValue)
      let last = try #require(evaluations.last?["eval_loss"]?.doubleValue)
      #expect(last < first)
      // A pipe gets one plain line a logged step.
      #expect(result.errors.split(separator: "\n").count { $0.hasPrefix("step ") } == 6)
      #expect(result.errors.contains("trainable params: "))
    }
  }

  @Test func recipesFromFilesAndCommandLine() throws {
    try CommandFixture.with { fixture in
      try fixture.write("recipe.yaml", "rank: 3\nlearning-rate: 0.5\nalpha: 7\n")
      let result = try fixture.graft(
        "train", "--config", "recipe.yaml", "--set", "learning-rate=0.25", "--alpha", "9",
        "--print-recipe")
      #expect(result.code == 0, "\(result.errors)")
      let recipe = try JSON.parse(Data(result.output.utf8))
      #expect(recipe["rank"]?.stringValue == "3")
      #expect(recipe["learning-rate"]?.stringValue == "0.25")
      #expect(recipe["alpha"]?.stringValue == "9")
      // The saved recipe is complete, and makes the same run again.
      try fixture.train(["--seed", "3"])
      try fixture.train(["--config", "run/recipe.json"], output: "again")
      #expect(try fixture.losses() == fixture.losses("again"))
      let saved = try JSON.parse(fixture.bytes("run/recipe.json"))
      #expect(saved["max-length"]?.stringValue == "128")
    }
  }

  /// Answers do not depend on the batch they are written in.
  @Test func generateInBatches() throws {
    try CommandFixture.with { fixture in
      let long = String(repeating: "x", count: 120)
      let prompts = ["Hi", "Hi", long, "a b", "Hi", "Hello"]
      try fixture.write(
        "prompts.jsonl", prompts.map { "{\"prompt\": \"\($0)\"}\n" }.joined())
      for sampling in [[], ["--sample", "--seed", "7"]] {
        let answers = try ["1", "2", "6"].map { size in
          let result = try GraftProcess.run(
            [
              "generate", "--model", "model", "--prompts", "prompts.jsonl", "--json",
              "--max-new-tokens", "20", "--batch-size", size,
            ] + sampling, directory: fixture.directory)
          #expect(result.code == 0, "\(result.errors)")
          return try JSON.parse(Data(result.output.utf8))["results"]?.arrayValue?.map { $0["ids"] }
        }
        #expect(answers[0] == answers[1] && answers[0] == answers[2])
        let ids = answers[0]?.compactMap { $0?.arrayValue?.count } ?? []
        #expect(ids.count == 6 && ids[2] <= 8)
        // Equal prompts are answered alike by the best tokens, and differently by drawn ones.
        #expect((answers[0]?[0] == answers[0]?[1]) == sampling.isEmpty)
      }
    }
  }

  @Test func tokenizeBothWays() throws {
    try CommandFixture.with { fixture in
      let ids = try fixture.graft("tokenize", "--model", "model", "--text", "h\u{e9}!").output
      let text = try fixture.graft(
        "tokenize", "--model", "model", "--decode", "--text", String(ids.dropLast())
      ).output
      #expect(text == "h\u{e9}!\n")
    }
  }

  @Test func quietAndHelp() throws {
    try CommandFixture.with { fixture in
      #expect(try fixture.train(["--quiet"]).errors == "")
      #expect(try fixture.graft("--version").output.hasPrefix("graft 0.1.0 (LibTorch 2."))
      let verbs = [
        "import", "train", "generate", "evaluate", "forward", "merge", "inspect", "tokenize",
        "data",
      ]
      let help = try fixture.graft("--help").output
      for verb in verbs {
        #expect(help.contains("  \(verb) "))
        let own = try fixture.graft(verb, "--help")
        #expect(own.code == 0 && own.output.contains("graft \(verb)"), "\(verb)")
      }
    }
  }

  /// The same rows and updates, however they are cut into micro-batches, packed or computed again.
  @Test func sameLossesWhateverTheLayout() throws {
    try CommandFixture.with { fixture in
      let plain = ["--no-shuffle", "--no-group-by-length"]
      try fixture.train(plain, output: "plain")
      let expected = try fixture.losses("plain")
      #expect(Set(expected).count == 6)
      func expectSame(_ more: [String], _ name: String, within limit: Double) throws {
        try fixture.train(plain + more, output: name)
        for (a, b) in zip(try fixture.losses(name), expected) {
          #expect(abs(a - b) <= limit * b, "\(name): \(a), \(b)")
        }
      }
      try expectSame(["--activation-checkpointing"], "checkpointed", within: 0)
      try expectSame(
        ["--batch-size", "1", "--gradient-accumulation", "4"], "accumulated", within: 1e-5)
      // All rows fit into one packed row, so that an epoch is one update either way.
      try fixture.train(plain + ["--batch-size", "16"], output: "whole")
      try fixture.write(
        "short.jsonl", CommandFixture.rows(6))
      for (name, more) in [("rows", ["--batch-size", "6"]), ("packed", ["--packing"])] {
        let result = try GraftProcess.run(
          fixture.training(plain + more, output: name, data: "short.jsonl"),
          directory: fixture.directory)
        #expect(result.code == 0, "\(result.errors)")
      }
      let (rows, packed) = (try fixture.losses("rows"), try fixture.losses("packed"))
      #expect(rows.count == 6 && packed.count == 6)
      for (a, b) in zip(packed, rows) { #expect(abs(a - b) <= 1e-5 * b, "\(a), \(b)") }
    }
  }

  /// Memory does not grow over 1,000 steps of a whole model.
  @Test func memoryStays() throws {
    try CommandFixture.with { fixture in
      try fixture.train(["--max-steps", "1200", "--save-every", "400", "--keep", "1"])
      let peaks = try fixture.metrics().compactMap { $0["peak_memory_bytes"]?.intValue }
      #expect(peaks.count == 1200 && peaks[0] > 1 << 20)
      let growth = peaks[1199] - peaks[199]
      // A leak of one activation of this model a step, 4 KB, would be 4 MB.
      #expect(growth < 3 << 20, "grew by \(growth) bytes over 1,000 steps")
    }
  }

  @Test func dropoutIsComputedAgainTheSame() throws {
    try CommandFixture.with { fixture in
      try fixture.train(["--dropout", "0.3"], output: "plain")
      try fixture.train(["--dropout", "0.3", "--activation-checkpointing"], output: "again")
      try fixture.train(output: "without")
      #expect(try fixture.losses("plain") == fixture.losses("again"))
      #expect(try fixture.losses("plain") != fixture.losses("without"))
    }
  }
}
