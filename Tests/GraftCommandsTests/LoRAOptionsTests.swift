import Checkpoints
import Foundation
import JSONValues
import TestSupport
import Testing

/// Every field of LoRA from the command line.
@Suite struct LoRAOptionsTests {
  private func config(_ fixture: CommandFixture, _ run: String = "run") throws -> JSON {
    try JSON.parse(fixture.bytes(run + "/adapter_config.json"))
  }

  @Test(arguments: [
    // PEFT finds these starts again; the others are written as a plain adapter of twice the rank.
    ("gaussian", "gaussian", 4), ("false", nil, 4), ("orthogonal", "orthogonal", 4),
    ("pissa", "pissa", 4), ("olora", "olora", 4), ("mica", "mica", 4), ("eva", "eva", 4),
    ("pissa_niter_4", nil, 8), ("milora", nil, 8), ("corda", nil, 8), ("lora_ga", nil, 8),
  ])
  func starts(_ name: String, _ written: String?, _ rank: Int) throws {
    try CommandFixture.with { fixture in
      try fixture.train(["--init-lora-weights", name, "--calibration-batches", "2"])
      let found = try config(fixture)
      #expect(found["init_lora_weights"]?.stringValue == written)
      #expect(found["init_lora_weights"]?.boolValue == (written == nil ? name != "false" : nil))
      #expect(found["r"]?.intValue == rank)
      let losses = try fixture.losses()
      #expect(try #require(losses.last) < losses[0])
      // What was written is opened again, and gives the same.
      let saved = try SafetensorsFile(path: fixture.path("run/adapter_model.safetensors"))
      #expect(saved.entries.allSatisfy { !$0.name.contains("_start") })
      let evaluated = try fixture.graft(
        "train", "--model", "model", "--data", "rows.jsonl", "--output", "again", "--adapter",
        "run", "--max-steps", "1", "--batch-size", "4", "--log-every", "1")
      #expect(evaluated.code == 0, "\(evaluated.errors)")
      let next = try #require(try fixture.losses("again").first)
      #expect(next < losses[0], "\(next) after \(losses)")
    }
  }

  @Test func plainFilesWhereTheyAreAskedFor() throws {
    try CommandFixture.with { fixture in
      try fixture.train(["--init-lora-weights", "pissa", "--plain-lora"])
      let found = try config(fixture)
      #expect(found["init_lora_weights"] == true)
      #expect(found["r"]?.intValue == 8 && found["lora_alpha"]?.intValue == 32)
    }
  }

  /// A run that was stopped goes on from the start that its data gave it.
  @Test(arguments: ["eva", "corda", "lora_ga", "pissa_niter_2"]) func goesOn(_ name: String) throws
  {
    try CommandFixture.with { fixture in
      let options = ["--init-lora-weights", name, "--save-every", "3", "--keep", "3"]
      try fixture.train(options)
      try fixture.train(options, output: "other")
      // As if the last three steps had not been.
      let steps = try FileManager.default.contentsOfDirectory(
        atPath: fixture.path("other/checkpoints")
      ).sorted()
      let first = try #require(steps.first)
      #expect(first.hasSuffix("3"))
      for step in steps.dropFirst() {
        try FileManager.default.removeItem(atPath: fixture.path("other/checkpoints/" + step))
      }
      for file in ["adapter_model.safetensors", "adapter_config.json"] {
        try FileManager.default.removeItem(atPath: fixture.path("other/" + file))
      }
      let result = try fixture.graft("train", "--resume", "other")
      #expect(result.code == 0, "\(result.errors)")
      #expect(
        try fixture.bytes("other/adapter_model.safetensors")
          == fixture.bytes("run/adapter_model.safetensors"))
    }
  }

  /// MonteCLoRA by a file of PEFT's fields; stopped and gone on with it draws the same.
  @Test func monteCLoRATrainsAndGoesOn() throws {
    try CommandFixture.with { fixture in
      try fixture.write(
        "adapter.json",
        #"""
        {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj", "down_proj"],
         "monteclora_config": {"num_samples": 3, "sample_scaler": 0.01, "use_entropy": true}}
        """#)
      let options = ["--adapter-config", "adapter.json", "--save-every", "4", "--keep", "3"]
      func train(_ output: String) throws {
        // The file says the rank.
        var words = fixture.training(options, output: output)
        words[try #require(words.firstIndex(of: "--max-steps")) + 1] = "12"
        let rank = try #require(words.firstIndex(of: "--rank"))
        let result = try GraftProcess.run(
          Array(words[..<rank] + words[(rank + 2)...]), directory: fixture.directory)
        #expect(result.code == 0, "\(result.errors)")
      }
      try train("run")
      try train("other")
      // Three passes over the data.
      let losses = try fixture.losses()
      try #require(losses.count == 12)
      let (first, last) = (losses[..<4].reduce(0, +), losses[8...].reduce(0, +))
      #expect(last < 0.98 * first, "\(losses)")
      let written = try config(fixture)["monteclora_config"]
      #expect(written?["num_samples"] == 3 && written?["buffer_size"] == 150)
      let saved = try SafetensorsFile(path: fixture.path("run/adapter_model.safetensors"))
      #expect(saved.entries.count { $0.name.hasSuffix("lora_monteclora_sampler.std_prior") } == 4)
      let steps = try FileManager.default.contentsOfDirectory(
        atPath: fixture.path("other/checkpoints")
      ).sorted()
      #expect(try #require(steps.first).hasSuffix("4"))
      for step in steps.dropFirst() {
        try FileManager.default.removeItem(atPath: fixture.path("other/checkpoints/" + step))
      }
      for file in ["adapter_model.safetensors", "adapter_config.json"] {
        try FileManager.default.removeItem(atPath: fixture.path("other/" + file))
      }
      let result = try fixture.graft("train", "--resume", "other")
      #expect(result.code == 0, "\(result.errors)")
      #expect(
        try fixture.bytes("other/adapter_model.safetensors")
          == fixture.bytes("run/adapter_model.safetensors"))
    }
  }

  @Test func loftQMakesUpForQuantising() throws {
    try CommandFixture.with { fixture in
      try fixture.train(["--init-lora-weights", "loftq", "--quantize", "nf4"])
      #expect(try config(fixture)["init_lora_weights"] == true)
      try fixture.expectFailure(
        64, naming: ["loftq", "--quantize"],
        fixture.training(["--init-lora-weights", "loftq"], output: "dense"))
    }
  }

  @Test func anyField() throws {
    try CommandFixture.with { fixture in
      try fixture.train([
        "--adapter-fields",
        #"{"use_dora": true, "target_modules": ["q_proj"], "lora_alpha": 4, "rank_pattern": {"1.self_attn.q_proj": 2}}"#,
      ])
      let found = try config(fixture)
      #expect(found["use_dora"] == true && found["r"]?.intValue == 4)
      #expect(found["lora_alpha"]?.intValue == 4 && found["target_modules"] == ["q_proj"])
      let file = try SafetensorsFile(path: fixture.path("run/adapter_model.safetensors"))
      #expect(file.entries.count { $0.name.hasSuffix("lora_magnitude_vector") } == 2)
      let second = try #require(
        file.entries.first { $0.name.hasSuffix("layers.1.self_attn.q_proj.lora_A.weight") })
      #expect(second.shape[0] == 2)
      // Fields of another method, too.
      try fixture.train(
        ["--method", "loha", "--adapter-fields", #"{"module_dropout": 0.5}"#], output: "loha")
      #expect(try config(fixture, "loha")["module_dropout"]?.doubleValue == 0.5)
    }
  }

  @Test func mistakes() throws {
    try CommandFixture.with { fixture in
      for (options, mentions) in [
        (["--init-lora-weights", "pisa"], ["init_lora_weights", "pisa"]),
        (["--method", "loha", "--init-lora-weights", "eva"], ["--init-lora-weights", "LOHA"]),
        (["--adapter-fields", "use_dora"], ["--adapter-fields", "JSON object"]),
        (["--adapter-fields", #"{"r": 3}"#], ["--rank", "r of --adapter-fields"]),
        (["--adapter-fields", #"{"use_dorra": true}"#], ["--adapter-fields", "use_dorra"]),
        (["--adapter-fields", #"{"use_dora": 1}"#], ["use_dora"]),
      ] {
        let result = try GraftProcess.run(
          fixture.training(options), directory: fixture.directory)
        #expect(result.code != 0)
        for mention in mentions { #expect(result.errors.contains(mention), "\(result.errors)") }
        #expect(!fixture.exists("run"))
      }
      for option in [
        ["--plain-lora"], ["--adapter-fields", "{}"], ["--init-lora-weights", "eva"],
      ] {
        try fixture.expectFailure(
          64, naming: [option[0], "--method full"],
          [
            "train", "--model", "model", "--data", "rows.jsonl", "--output", "run", "--method",
            "full",
          ]
            + option)
      }
    }
  }
}
