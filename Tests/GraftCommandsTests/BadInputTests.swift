import Checkpoints
import Foundation
import JSONValues
import Tensors
import TestSupport
import Testing

/// Bad input ends with the contract's exit code and a message that names it; nothing is written.
@Suite struct BadInputTests {
  @Test func missingModel() throws {
    try CommandFixture.with { fixture in
      try fixture.expectFailure(
        66, naming: ["absent"],
        ["train", "--model", "absent", "--data", "rows.jsonl", "--output", "run"])
      try fixture.expectFailure(
        66, naming: ["absent"], ["generate", "--model", "absent", "--prompt", "a"])
      try fixture.expectFailure(
        66, naming: ["absent.gguf"], ["generate", "--model", "absent.gguf", "--prompt", "a"])
    }
  }

  @Test func corruptModel() throws {
    try CommandFixture.with { fixture in
      let good = try fixture.bytes("model/model.safetensors")
      for damaged in [Data(), good.dropLast(100), good.prefix(50), Data(repeating: 255, count: 99)]
      {
        try damaged.write(to: URL(fileURLWithPath: fixture.path("model/model.safetensors")))
        try fixture.expectFailure(65, naming: ["model.safetensors"], fixture.training())
      }
      try good.write(to: URL(fileURLWithPath: fixture.path("model/model.safetensors")))
      try fixture.write("model/config.json", "{\"model_type\": \"llama\",")
      try fixture.expectFailure(65, naming: ["config.json"], fixture.training())
      try fixture.write("model/config.json", "{\"model_type\": \"nonesuch\"}")
      try fixture.expectFailure(65, naming: ["nonesuch", "llama", "qwen2"], fixture.training())
    }
  }

  @Test func adapterOfAnotherBase() throws {
    try CommandFixture.with { fixture in
      try fixture.train()
      var other = TinyModel()
      other.hiddenSize = 32
      try other.write(to: fixture.path("model"))
      let key = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
      for verb in [
        ["generate", "--prompt", "a"], ["merge", "--output", "merged"],
        ["evaluate", "--data", "rows.jsonl"],
      ] {
        try fixture.expectFailure(
          65, naming: [key, "[4, 16]", "[4, 32]"], verb + ["--model", "model", "--adapter", "run"])
      }
    }
  }

  @Test func unknownTargetModule() throws {
    try CommandFixture.with { fixture in
      let known = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
      for targets in ["query", "q_proj,w_proj", "model\\.decoder\\..*"] {
        try fixture.expectFailure(
          64, naming: known + [targets == "q_proj,w_proj" ? "w_proj" : targets],
          fixture.training(["--target-modules", targets]))
      }
    }
  }

  @Test func emptyOrMalformedData() throws {
    try CommandFixture.with { fixture in
      try fixture.write("bad.jsonl", "")
      try fixture.expectFailure(65, naming: ["bad.jsonl"], fixture.training(data: "bad.jsonl"))
      try fixture.write("bad.jsonl", CommandFixture.rows(2) + "{\"prompt\": \"a\"\n")
      try fixture.expectFailure(65, naming: ["bad.jsonl:3"], fixture.training(data: "bad.jsonl"))
      try fixture.write(
        "bad.jsonl", CommandFixture.rows(4) + "{\"prompt\": 1, \"completion\": \"b\"}")
      try fixture.expectFailure(
        65, naming: ["bad.jsonl:5", "prompt"], fixture.training(data: "bad.jsonl"))
      try fixture.expectFailure(66, naming: ["absent"], fixture.training(data: "absent.jsonl"))
      try fixture.expectFailure(
        65, naming: ["bad.jsonl:5"], fixture.training(["--eval-data", "bad.jsonl"]))
    }
  }

  @Test func idsAndLabelsThatDoNotFit() throws {
    try CommandFixture.with { fixture in
      func failure(_ mentions: [String], _ tensors: [(name: String, tensor: Tensor)]) throws {
        try SafetensorsWriter.save(fixture.path("input.safetensors"), tensors: tensors)
        try fixture.expectFailure(
          65, naming: ["input.safetensors"] + mentions,
          [
            "forward", "--model", "model", "--input", "input.safetensors", "--output",
            "o.safetensors",
          ]
        )
      }
      let ids = Tensor([1, 2, 3], shape: [1, 3])
      let long = Tensor([Int](repeating: 1, count: 129), shape: [1, 129])
      try failure(
        ["labels", "260"], [("input_ids", ids), ("labels", Tensor([1, 260, 3], shape: [1, 3]))])
      try failure(
        ["labels", "-5"], [("input_ids", ids), ("labels", Tensor([1, -5, 3], shape: [1, 3]))])
      try failure(["input_ids", "260"], [("input_ids", Tensor([1, 260], shape: [1, 2]))])
      try failure(["129", "128"], [("input_ids", long)])
      try failure(["input_ids"], [("input_ids", ids.to(.float32))])
      try failure(["input_ids"], [("ids", ids)])
    }
  }

  /// A tokenizer with more tokens than the model has embeddings; padding ids that are none.
  @Test func tokenizerOfAnotherModel() throws {
    try CommandFixture.with { fixture in
      let config = String(decoding: try fixture.bytes("model/config.json"), as: UTF8.self)
      for id in ["-1", "260", "1000000000000"] {
        try fixture.write(
          "model/config.json",
          config.replacingOccurrences(of: #""pad_token_id": 256"#, with: "\"pad_token_id\": \(id)"))
        try fixture.train(["--overwrite"])
      }
      // 100 embeddings for 259 tokens.
      try fixture.write(
        "model/config.json",
        config.replacingOccurrences(of: #""vocab_size": 260"#, with: #""vocab_size": 100"#))
      let weights = TinyModel().weights.map { name, tensor in
        (
          name: name,
          tensor: name.contains("embed") ? tensor.narrowed(0, 0..<100).contiguous() : tensor
        )
      }
      try SafetensorsWriter.save(fixture.path("model/model.safetensors"), tensors: weights)
      for verb in [
        fixture.training(output: "new"), ["evaluate", "--model", "model", "--data", "rows.jsonl"],
        // Before the rows are run to find a start.
        fixture.training(["--init-lora-weights", "eva"], output: "new"),
      ] {
        try fixture.expectFailure(65, naming: ["vocabulary", "100"], verb)
      }
    }
  }

  @Test func weightsThatAreNotFinite() throws {
    try CommandFixture.with { fixture in
      try fixture.train()
      let large = TinyModel().weights.map { name, tensor in
        (name: name, tensor: name.contains("up_proj") ? tensor * 1e6 : tensor)
      }
      try SafetensorsWriter.save(fixture.path("model/model.safetensors"), tensors: large)
      try fixture.expectFailure(
        65, naming: ["up_proj"],
        ["merge", "--model", "model", "--adapter", "run", "--output", "out", "--dtype", "float16"])
      let broken = TinyModel().weights.map { name, tensor in
        (name: name, tensor: name.contains("norm") ? tensor * .nan : tensor)
      }
      try SafetensorsWriter.save(fixture.path("model/model.safetensors"), tensors: broken)
      for more in [[], ["--sample"]] {
        try fixture.expectFailure(
          65, naming: ["NaN"], ["generate", "--model", "model", "--prompt", "a", "--json"] + more)
      }
      let evaluated = try fixture.graft(
        "evaluate", "--model", "model", "--data", "rows.jsonl", "--json")
      #expect(try JSON.parse(Data(evaluated.output.utf8))["loss"]?.isNull == true)
    }
  }

  @Test func adapterFilesThatAreWrong() throws {
    try CommandFixture.with { fixture in
      try fixture.train()
      let config = String(decoding: try fixture.bytes("run/adapter_config.json"), as: UTF8.self)
      for (from, to, name) in [
        (#""r": 4"#, #""r": "4""#, "r"),
        (#""use_qalora": false"#, #""use_qalora": true"#, "use_qalora"),
        (#""alpha_pattern": {}"#, #""alpha_pattern": {"q_proj": null}"#, "alpha_pattern"),
        (#""rank_pattern": {}"#, #""rank_pattern": 3"#, "rank_pattern"),
      ] {
        let changed = config.replacingOccurrences(of: from, with: to)
        #expect(changed != config, "\(from)")
        try fixture.write("run/adapter_config.json", changed)
        try fixture.expectFailure(
          65, naming: ["run/adapter_config.json", name],
          ["generate", "--model", "model", "--adapter", "run", "--prompt", "a"])
      }
      try fixture.write("run/adapter_config.json", config)
      try fixture.expectFailure(
        64, naming: ["--rank", "run", "4"],
        fixture.training(["--adapter", "run", "--rank", "5"], output: "new"))
      // What agrees may be said, and dropout may be another.
      try fixture.train(["--adapter", "run", "--rank", "4", "--dropout", "0.1"], output: "new")
      let recipe = try JSON.parse(fixture.bytes("new/recipe.json"))
      #expect(recipe["rank"]?.stringValue == "4" && recipe["dropout"]?.stringValue == "0.1")
    }
  }

  @Test func longerThanTheModelsLimit() throws {
    try CommandFixture.with { fixture in
      try fixture.expectFailure(
        64, naming: ["--max-length", "500", "128"], fixture.training(["--max-length", "500"]))
      try fixture.expectFailure(
        65, naming: ["128"],
        ["generate", "--model", "model", "--prompt", String(repeating: "a", count: 200)])
    }
  }

  @Test func outputOfAnotherRun() throws {
    try CommandFixture.with { fixture in
      try fixture.train()
      let before = try fixture.snapshot("run")
      let again = try fixture.train(["--seed", "9"], expecting: 73)
      #expect(again.errors.contains("run") && again.errors.contains("--overwrite"))
      #expect(try fixture.snapshot("run") == before)
      // A model's directory is never taken for a run, whatever is allowed.
      let model = try fixture.snapshot("model")
      try fixture.train(["--overwrite"], output: "model", expecting: 73)
      #expect(try fixture.snapshot("model") == model)
      // With the word it is replaced.
      try fixture.train(["--seed", "9", "--overwrite"])
      #expect(try fixture.snapshot("run") != before)
    }
  }

  @Test func outputThatCannotBeWritten() throws {
    try CommandFixture.with { fixture in
      try fixture.write("file", "x")
      let result = try fixture.train(output: "file/run", expecting: 73)
      #expect(result.errors.contains("file"))
      #expect(try fixture.bytes("file") == Data("x".utf8))
    }
  }

  /// A limit on the size of files stands for the full disk: the same writes fail.
  @Test func diskFull() throws {
    try CommandFixture.with { fixture in
      func limited(_ arguments: [String], kilobytes: Int) throws -> GraftProcess.Result {
        let graft = GraftProcess.productsDirectory.appendingPathComponent("graft").path
        let script = "trap '' XFSZ; ulimit -f \(2 * kilobytes); exec \"$0\" \"$@\""
        return try GraftProcess.run(
          ["-c", script, graft] + arguments, program: "/bin/sh", directory: fixture.directory)
      }
      // 4 KiB hold the recipe, but not the adapter.
      let run = try limited(fixture.training(["--rank", "8"]), kilobytes: 4)
      #expect(run.code == 73, "\(run.errors)")
      #expect(run.errors.contains("run"))
      let names = try FileManager.default.subpathsOfDirectory(atPath: fixture.path("run"))
      #expect(!names.contains { $0.hasSuffix(".safetensors") }, "\(names)")
      #expect(!names.contains { $0.hasPrefix("checkpoints/step-") }, "\(names)")

      try SafetensorsWriter.save(
        fixture.path("input.safetensors"),
        tensors: [("input_ids", Tensor([Int](repeating: 1, count: 64), shape: [1, 64]))])
      let forward = try limited(
        [
          "forward", "--model", "model", "--input", "input.safetensors", "--output",
          "o.safetensors",
        ],
        kilobytes: 8)
      #expect(forward.code == 73, "\(forward.errors)")
      #expect(forward.errors.contains("o.safetensors"))
      let left = try FileManager.default.contentsOfDirectory(atPath: fixture.directory)
      #expect(!left.contains { $0.contains("o.safetensors") }, "\(left)")
    }
  }

  @Test func wrongOptions() throws {
    try CommandFixture.with { fixture in
      try fixture.expectFailure(
        64, naming: ["--learning-rat", "--learning-rate"],
        fixture.training(["--learning-rat", "1"]))
      try fixture.expectFailure(
        64, naming: ["--rank", "eight"], fixture.training(["--rank", "eight"]))
      try fixture.expectFailure(64, naming: ["rank"], fixture.training(["--rank", "0"]))
      try fixture.expectFailure(
        64, naming: ["lineer", "linear"], fixture.training(["--schedule", "lineer"]))
      try fixture.expectFailure(
        64, naming: ["batch-size"], fixture.training(["--batch-size", "0"]))
      try fixture.expectFailure(
        64, naming: ["lorra", "lora"], fixture.training(["--method", "lorra"]))
      try fixture.expectFailure(64, naming: ["trian", "train"], ["trian"])
      let huge = String(Int.max)
      for option in ["batch-size", "gradient-accumulation", "max-steps", "threads", "max-length"] {
        try fixture.expectFailure(64, naming: [option], fixture.training(["--" + option, huge]))
      }
      for option in ["warmup-steps", "max-gradient-norm", "epochs"] {
        try fixture.expectFailure(64, naming: [option], fixture.training(["--" + option, "-3"]))
      }
      for (verb, option) in [("generate", "max-new-tokens"), ("evaluate", "batch-size")] {
        let words = verb == "generate" ? ["--prompt", "a"] : ["--data", "rows.jsonl"]
        for value in [huge, "-3", "0"] {
          try fixture.expectFailure(
            64, naming: [option], [verb, "--model", "model"] + words + ["--" + option, value])
        }
      }
      try fixture.expectFailure(
        64, naming: ["--model", "--output"], ["train", "--data", "rows.jsonl"])
      try fixture.write("recipe.yaml", "learning-rat: 1\n")
      try fixture.expectFailure(
        64, naming: ["recipe.yaml", "learning-rat", "learning-rate"],
        fixture.training(["--config", "recipe.yaml"]))
      for text in ["rank: [", "rank: 1\nrank: 2\n", "rank: &a 1\nalpha: *a\n", "- rank\n"] {
        try fixture.write("recipe.yaml", text)
        try fixture.expectFailure(
          65, naming: ["recipe.yaml"], fixture.training(["--config", "recipe.yaml"]))
      }
      try fixture.expectFailure(64, naming: ["json"], fixture.training(["--set", "json=true"]))
    }
  }

  @Test func nothingToResume() throws {
    try CommandFixture.with { fixture in
      try fixture.expectFailure(66, naming: ["absent"], ["train", "--resume", "absent"])
      try fixture.train()
      // Other data than the run began with.
      try fixture.write("rows.jsonl", CommandFixture.rows(15))
      let before = try fixture.snapshot("run/checkpoints")
      let result = try fixture.graft("train", "--resume", "run", "--max-steps", "9")
      #expect(result.code == 65, "\(result.errors)")
      #expect(result.errors.contains("data"))
      #expect(try fixture.snapshot("run/checkpoints") == before)
    }
  }
}
