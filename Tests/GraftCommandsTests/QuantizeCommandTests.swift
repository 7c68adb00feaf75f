import Checkpoints
import Foundation
import JSONValues
import Tensors
import TestSupport
import Testing

/// `graft quantize`, and `--quantize` of the verbs that open a model.
@Suite struct QuantizeCommandTests {
  static let formats = [
    ["int8"], ["nf4"], ["nf4", "--double-quant"], ["fp4", "--block-size", "32"],
  ]

  private func logits(_ fixture: CommandFixture, _ arguments: [String]) throws -> Tensor {
    let ids = Tensor([7, 3, 200, 41, 9, 77], shape: [1, 6])
    try SafetensorsWriter.save(
      fixture.path("input.safetensors"), tensors: [("input_ids", ids), ("labels", ids)])
    let result = try GraftProcess.run(
      ["forward", "--input", "input.safetensors", "--output", "out.safetensors"] + arguments,
      directory: fixture.directory)
    try #require(result.code == 0, "\(result.errors)")
    let file = try SafetensorsFile(path: fixture.path("out.safetensors"))
    return try file.tensor(try #require(file["logits"])).cloned()
  }

  @Test(arguments: formats) func writesWhatItComputesWith(_ format: [String]) throws {
    try CommandFixture.with { fixture in
      let made = try GraftProcess.run(
        ["quantize", "--model", "model", "--output", "small", "--json", "--format"] + format,
        directory: fixture.directory)
      try #require(made.code == 0, "\(made.errors)")
      let summary = try JSON.parse(made.output)
      #expect(summary["format"]?.stringValue == format[0])
      let dense = try SafetensorsFile(path: fixture.path("model/model.safetensors"))
      let parameters = dense.entries.reduce(0) { $0 + $1.elementCount }
      #expect(summary["parameters"]?.intValue == parameters)
      let stored = try logits(fixture, ["--model", "small"])
      let onTheWay = try logits(fixture, ["--model", "model", "--quantize"] + format)
      #expect(stored.isEqual(to: onTheWay))
      let plain = try logits(fixture, ["--model", "model"])
      let error = ((stored - plain).norm() / plain.norm()).item()
      #expect(error > 1e-4 && error < 0.5)
      // Everything else of the directory is there too.
      #expect(fixture.exists("small/tokenizer.json") && fixture.exists("small/config.json"))
      let inspected = try fixture.graft("inspect", "small", "--json")
      #expect(try JSON.parse(inspected.output)["parameters"]?.intValue == parameters)
      let written = try fixture.graft(
        "generate", "--model", "small", "--prompt", "row", "--max-new-tokens", "3")
      #expect(written.code == 0, "\(written.errors)")
    }
  }

  @Test(arguments: formats) func trainsEvaluatesAndMerges(_ format: [String]) throws {
    try CommandFixture.with { fixture in
      try fixture.train(["--quantize"] + format)
      let losses = try fixture.losses()
      #expect(losses.count == 6 && losses[5] < losses[0])
      let evaluated = try GraftProcess.run(
        ["evaluate", "--model", "model", "--adapter", "run", "--data", "rows.jsonl", "--quantize"]
          + format, directory: fixture.directory)
      #expect(evaluated.code == 0, "\(evaluated.errors)")
      // A base from a directory is the same base; the adapter merges into it as numbers or anew.
      _ = try GraftProcess.run(
        ["quantize", "--model", "model", "--output", "small", "--format"] + format,
        directory: fixture.directory)
      let apart = try logits(fixture, ["--model", "small", "--adapter", "run"])
      for (output, more) in [("numbers", []), ("anew", ["--quantize"] + format)] {
        let merged = try GraftProcess.run(
          ["merge", "--model", "small", "--adapter", "run", "--output", output] + more,
          directory: fixture.directory)
        try #require(merged.code == 0, "\(merged.errors)")
        let config = try JSON.read(path: fixture.path(output + "/config.json"))
        #expect((config["quantization_config"] == nil) == (output == "numbers"))
        let error =
          ((try logits(fixture, ["--model", output]) - apart).norm() / apart.norm()).item()
        #expect(error < (output == "anew" ? 0.5 : format[0] == "int8" ? 0.05 : 1e-5))
      }
    }
  }

  /// What was left dense is written so that transformers reads the list in the same way.
  @Test func skippedModules() throws {
    try CommandFixture.with { fixture in
      func skipped(_ names: String...) throws -> JSON? {
        let made = try GraftProcess.run(
          ["quantize", "--model", "model", "--format", "int8", "--output", "small"]
            + (names.isEmpty ? [] : ["--skip-modules", names.joined(separator: ",")]),
          directory: fixture.directory)
        try #require(made.code == 0, "\(made.errors)")
        let config = try JSON.read(path: fixture.path("small/config.json"))
        try FileManager.default.removeItem(atPath: fixture.path("small"))
        return config["quantization_config"]?["llm_int8_skip_modules"]
      }
      #expect(try skipped() == .null)
      // The head is the embedding table and stays dense in any case.
      #expect(
        try skipped("v_proj", " layers.1.mlp")?.arrayValue?.compactMap(\.stringValue) == [
          "model.layers.0.self_attn.v_proj", "model.layers.1.self_attn.v_proj",
          "model.layers.1.mlp.gate_proj", "model.layers.1.mlp.up_proj",
          "model.layers.1.mlp.down_proj", "lm_head",
        ])
      try fixture.expectFailure(
        64, naming: ["vproj"],
        [
          "quantize", "--model", "model", "--format", "int8", "--output", "small",
          "--skip-modules", "vproj",
        ])
    }
  }

  /// Numbers that no code can stand for are never written.
  @Test(arguments: [["int8"], ["nf4"], ["nf4", "--double-quant"]])
  func notFinite(_ format: [String]) throws {
    try CommandFixture.with { fixture in
      try fixture.train()
      let name = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"
      let path = fixture.path("run/adapter_model.safetensors")
      let file = try SafetensorsFile(path: path)
      let tensors = try file.entries.map { entry in
        let tensor = try file.tensor(entry).cloned()
        return (entry.name, entry.name == name ? tensor.fillInPlace(.nan) : tensor)
      }
      try SafetensorsWriter.save(path, tensors: tensors)
      let merge = ["merge", "--model", "model", "--adapter", "run", "--output", "merged"]
      try fixture.expectFailure(
        65, naming: ["layers.1.mlp.up_proj", "run"], merge + ["--quantize"] + format)
      try fixture.expectFailure(
        65, naming: ["layers.1.mlp.up_proj", "finite"],
        merge + ["--no-safe", "--quantize"] + format
      )
      let numbers = try GraftProcess.run(merge + ["--no-safe"], directory: fixture.directory)
      #expect(numbers.code == 0, "\(numbers.errors)")
      try fixture.expectFailure(
        65, naming: ["layers.1.mlp.up_proj.weight", "finite"],
        ["quantize", "--model", "merged", "--output", "small", "--format"] + format)
    }
  }

  /// Options of a stored format are compared with it, where they are given.
  @Test func storedSettings() throws {
    try CommandFixture.with { fixture in
      func store(_ output: String, _ more: String...) throws {
        let made = try GraftProcess.run(
          ["quantize", "--model", "model", "--output", output, "--format"] + more,
          directory: fixture.directory)
        try #require(made.code == 0, "\(made.errors)")
      }
      try store("eight", "int8", "--int8-threshold", "3")
      try store("four", "nf4", "--block-size", "128")
      for (model, format, option) in [
        ("eight", "int8", ["--int8-threshold", "5"]), ("four", "nf4", ["--block-size", "32"]),
        ("four", "nf4", ["--double-quant"]),
      ] {
        let words = ["--model", model, "--quantize", format]
        try fixture.expectFailure(
          64, naming: [option[0], model, format],
          ["generate", "--prompt", "a"] + words + option)
        // What is not given is as stored.
        let stored = try logits(fixture, ["--model", model])
        #expect(try logits(fixture, words).isEqual(to: stored))
      }
      for more in [[], ["--quantize", "int8"]] {
        try fixture.expectFailure(
          more.isEmpty ? 64 : 65, naming: [more.isEmpty ? "--quantize" : "same table"],
          ["generate", "--prompt", "a", "--model", "model", "--quantize-embeddings"] + more)
      }
      // The type of merged weights is that of their state, too.
      try fixture.train()
      let merged = try fixture.graft(
        "merge", "--model", "model", "--adapter", "run", "--output", "merged", "--quantize", "nf4",
        "--dtype", "bfloat16")
      try #require(merged.code == 0, "\(merged.errors)")
      let file = try SafetensorsFile(path: fixture.path("merged/model.safetensors"))
      let state = try #require(
        file["model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4"])
      let json = try JSON.parse(Data(file.byteTensor(state).array(of: UInt8.self)))
      #expect(json["dtype"]?.stringValue == "bfloat16")
      let config = try JSON.read(path: fixture.path("merged/config.json"))
      #expect(config["dtype"]?.stringValue == "bfloat16" && config["torch_dtype"] == nil)
    }
  }

  @Test func badInput() throws {
    try CommandFixture.with { fixture in
      func quantize(_ more: String...) -> [String] {
        ["quantize", "--model", "model", "--output", "small"] + more
      }
      try fixture.expectFailure(64, naming: ["--format"], quantize())
      try fixture.expectFailure(64, naming: ["int8, nf4 or fp4"], quantize("--format", "none"))
      try fixture.expectFailure(64, naming: ["int4", "nf4"], quantize("--format", "int4"))
      try fixture.expectFailure(
        64, naming: ["--double-quant", "nf4 or fp4"], quantize("--format", "int8", "--double-quant")
      )
      try fixture.expectFailure(
        64, naming: ["--block-size is 48", "64, 128"],
        quantize("--format", "nf4", "--block-size", "48"))
      try fixture.expectFailure(
        64, naming: ["--int8-threshold", "int8"],
        quantize("--format", "nf4", "--int8-threshold", "3"))
      try fixture.expectFailure(
        64, naming: ["-1"], quantize("--format", "int8", "--int8-threshold", "-1"))
      _ = try fixture.graft(
        "quantize", "--model", "model", "--format", "nf4", "--output", "once")
      try fixture.expectFailure(
        65, naming: ["once", "nf4"],
        ["quantize", "--model", "once", "--format", "int8", "--output", "twice"])
      try fixture.expectFailure(
        65, naming: ["once", "nf4", "fp4"],
        ["generate", "--model", "once", "--prompt", "a", "--quantize", "fp4"])
      try fixture.expectFailure(
        73, naming: ["once"],
        ["quantize", "--model", "model", "--format", "int8", "--output", "once"])
      var config = try #require(
        try JSON.read(path: fixture.path("once/config.json")).objectValue)
      config["quantization_config"] = ["quant_method": "awq", "bits": 4]
      try fixture.write("once/config.json", JSON.object(config).serialized())
      try fixture.expectFailure(
        65, naming: ["AWQ", "bitsandbytes"], ["generate", "--model", "once", "--prompt", "a"])
    }
  }
}
