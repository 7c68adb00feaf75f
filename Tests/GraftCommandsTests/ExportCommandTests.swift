import Checkpoints
import Foundation
import JSONValues
import Tensors
import TestSupport
import Testing

/// `graft export`, and the way back by `graft import`.
@Suite struct ExportCommandTests {
  private func tensors(_ path: String) throws -> [String: Tensor] {
    Dictionary(
      uniqueKeysWithValues: try SafetensorsFile(path: path).tensors().map { ($0.name, $0.tensor) })
  }

  private func expectEqual(
    _ left: [String: Tensor], _ right: [String: Tensor],
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(left.keys.sorted() == right.keys.sorted(), sourceLocation: sourceLocation)
    for (name, tensor) in left {
      guard let other = right[name] else { continue }
      #expect(
        tensor.dtype == other.dtype && tensor.isEqual(to: other), "\(name)",
        sourceLocation: sourceLocation)
    }
  }

  @Test func modelComesBackBitForBit() throws {
    try CommandFixture.with(TinyModel { $0.tiesEmbeddings = false }) { fixture in
      for format in ["f32", "f16", "bf16", "q8_0"] {
        let result = try fixture.graft(
          "export", "--model", "model", "--output", "\(format).gguf", "--format", format, "--json")
        #expect(result.code == 0, "\(result.errors)")
        let json = try JSON.parse(Data(result.output.utf8))
        #expect(json["architecture"]?.stringValue == "llama")
        #expect(json["format"]?.stringValue == format)
      }
      let file = try GGUFFile(path: fixture.path("q8_0.gguf"))
      // Rows of 16 are no whole block; norms stay in single precision.
      #expect(file.tensor(named: "blk.0.attn_q.weight")?.type == .f16)
      #expect(file.tensor(named: "blk.1.ffn_norm.weight")?.type == .f32)
      #expect(try fixture.graft("import", "f32.gguf", "--output", "back").code == 0)
      expectEqual(
        try tensors(fixture.path("model/model.safetensors")),
        try tensors(fixture.path("back/model.safetensors")))
      let words = ["--prompt", "row 3:", "--max-new-tokens", "5"]
      let first = try GraftProcess.run(
        ["generate", "--model", "model"] + words, directory: fixture.directory)
      let second = try GraftProcess.run(
        ["generate", "--model", "back"] + words, directory: fixture.directory)
      #expect(first.code == 0 && first.output == second.output, "\(second.errors)")
    }
  }

  @Test func gpt2() throws {
    try CommandFixture.with(TinyModel { $0.isGPT2 = true }) { fixture in
      let result = try fixture.graft(
        "export", "--model", "model", "--output", "m.gguf", "--format", "f32")
      #expect(result.code == 0, "\(result.errors)")
      let file = try GGUFFile(path: fixture.path("m.gguf"))
      #expect(file.tensor(named: "blk.0.attn_qkv.weight")?.shape == [48, 16])
      #expect(file.tensor(named: "blk.0.attn_qkv.bias")?.shape == [48])
      #expect(file.tensor(named: "position_embd.weight")?.type == .f32)
      #expect(file["gpt2.attention.layer_norm_epsilon"]?.doubleValue == 1e-5)
    }
  }

  @Test func adapters() throws {
    try CommandFixture.with { fixture in
      try fixture.train()
      for (format, output) in [("gguf-lora", "lora.gguf"), ("mlx", "mlx")] {
        let result = try fixture.graft(
          "export", "--model", "model", "--adapter", "run", "--output", output, "--format", format)
        #expect(result.code == 0, "\(result.errors)")
      }
      let file = try GGUFFile(path: fixture.path("lora.gguf"))
      #expect(file["adapter.type"]?.stringValue == "lora")
      #expect(file["adapter.lora.alpha"]?.doubleValue == 16)
      #expect(file.tensor(named: "blk.0.attn_q.weight.lora_a")?.shape == [4, 16])
      #expect(file.tensor(named: "blk.1.ffn_down.weight.lora_b")?.shape == [16, 4])
      for (verb, output) in [
        (["import", "mlx"], "back"), (["export", "--adapter", "mlx", "--format", "peft"], "again"),
      ] {
        let result = try GraftProcess.run(
          verb + ["--output", output], directory: fixture.directory)
        #expect(result.code == 0, "\(result.errors)")
        expectEqual(
          try tensors(fixture.path("run/adapter_model.safetensors")),
          try tensors(fixture.path("\(output)/adapter_model.safetensors")))
        #expect(
          try fixture.evaluatedLoss("--model", "model", "--adapter", "run")
            == fixture.evaluatedLoss("--model", "model", "--adapter", output))
      }
    }
  }

  @Test func refusals() throws {
    try CommandFixture.with { fixture in
      try FileManager.default.createDirectory(
        atPath: fixture.path("ia3"), withIntermediateDirectories: true)
      try fixture.write("ia3/adapter_config.json", #"{"peft_type": "IA3"}"#)
      try fixture.train(["--adapter-fields", #"{"use_dora": true}"#], output: "dora")
      func failure(_ code: Int32, _ mentions: [String], _ words: String...) throws {
        try fixture.expectFailure(code, naming: mentions, ["export", "--output", "out"] + words)
      }
      try failure(64, ["--format"], "--model", "model")
      try failure(64, ["--model"], "--format", "f16")
      try failure(64, ["--adapter"], "--model", "model", "--format", "mlx")
      try failure(
        65, ["IA3", "graft merge", "graft extract"], "--model", "model", "--adapter", "ia3",
        "--format", "gguf-lora")
      try failure(
        65, ["DoRA", "merge"], "--model", "model", "--adapter", "dora", "--format", "gguf-lora")
      let config = String(decoding: try fixture.bytes("model/config.json"), as: UTF8.self)
      for (old, new, mention) in [
        (#""model_type": "llama""#, #""model_type": "phi""#, "phi"),
        (#""hidden_act": "silu""#, #""hidden_act": "relu""#, "relu"),
      ] {
        try fixture.write("model/config.json", config.replacingOccurrences(of: old, with: new))
        try failure(65, [mention], "--model", "model", "--format", "f16")
      }
      try fixture.write("model/config.json", config)
      let tokenizer = String(decoding: try fixture.bytes("model/tokenizer.json"), as: UTF8.self)
      for (old, new, mention) in [
        (#""type": "BPE""#, #""type": "Unigram""#, "Unigram"),
        (#""add_prefix_space": false"#, #""add_prefix_space": true"#, "add_prefix_space"),
        (#""normalizer": null"#, #""normalizer": {"type": "Lowercase"}"#, "Lowercase"),
        (#""id": 258"#, #""id": 260"#, "260 rows"),
      ] {
        let changed = tokenizer.replacingOccurrences(of: old, with: new)
        #expect(changed != tokenizer, "\(old)")
        try fixture.write("model/tokenizer.json", changed)
        try failure(65, [mention, "tokenizer.json"], "--model", "model", "--format", "f16")
      }
    }
  }

  /// What MLX's files can say wrongly.
  @Test func malformedMLX() throws {
    try CommandFixture.with { fixture in
      let (a, b) = (Tensor.ones([16, 2]), Tensor.ones([2, 16]))
      let good = #"{"fine_tune_type": "lora", "lora_parameters": {"rank": 2, "scale": 1.5}}"#
      try FileManager.default.createDirectory(
        atPath: fixture.path("mlx"), withIntermediateDirectories: true)
      let path = "model.layers.1.self_attn.q_proj"
      func put(_ tensors: [(name: String, tensor: Tensor)], _ config: String) throws {
        try SafetensorsWriter.save(fixture.path("mlx/adapters.safetensors"), tensors: tensors)
        try fixture.write("mlx/adapter_config.json", config)
      }
      let words = ["import", "mlx", "--output", "back"]
      for (change, mention) in [
        ("{}", "lora_parameters"), (good.replacingOccurrences(of: "2,", with: "3,"), "rank 3"),
        (good.replacingOccurrences(of: "\"lora\"", with: "\"full\""), "fine_tune_type"),
        (good.replacingOccurrences(of: "1.5", with: "\"x\""), "scale"),
        (good.replacingOccurrences(of: "\"rank\": 2", with: "\"rank\": -2"), "rank"),
        (good.replacingOccurrences(of: "1.5", with: "1.5, \"dropout\": 2"), "dropout"),
      ] {
        try put([(path + ".lora_a", a), (path + ".lora_b", b)], change)
        try fixture.expectFailure(65, naming: [mention], words)
      }
      for (tensors, mention) in [
        ([(path + ".lora_a", a)], "only one"), ([(path + ".weight", a)], "weight"),
        ([(path + ".lora_a", a), (path + ".lora_b", b.reshaped([2, 4, 4]))], "lora_b"),
        ([("model.embed_tokens.lora_a", a), ("model.embed_tokens.lora_b", b)], "embed"),
      ] as [([(name: String, tensor: Tensor)], String)] {
        try put(tensors, good)
        try fixture.expectFailure(65, naming: [mention, "adapters.safetensors"], words)
      }
      try put([(path + ".lora_a", a), (path + ".lora_b", b)], good)
      #expect(try GraftProcess.run(words, directory: fixture.directory).code == 0)
      let config = try JSON.parse(fixture.bytes("back/adapter_config.json"))
      #expect(config["layers_to_transform"] == [1])
      #expect(config["lora_alpha"]?.doubleValue == 3)
      #expect(config["target_modules"] == ["self_attn.q_proj"])
    }
  }

  @Test func shards() throws {
    try CommandFixture.with { fixture in
      try fixture.train()
      let merge = ["merge", "--model", "model", "--adapter", "run"]
      func run(_ words: [String], naming output: String) throws -> [String] {
        let result = try GraftProcess.run(
          words + ["--output", output], directory: fixture.directory)
        #expect(result.code == 0, "\(result.errors)")
        return try FileManager.default.contentsOfDirectory(atPath: fixture.path(output)).sorted()
      }
      let whole = try run(merge, naming: "whole")
      #expect(whole.contains("model.safetensors"))
      let files = try run(merge + ["--max-shard-size", "8KB"], naming: "shards")
      #expect(!files.contains("model.safetensors"))
      #expect(files.contains("model.safetensors.index.json"))
      #expect(files.contains("generation_config.json") && files.contains("tokenizer.json"))
      let index = try JSON.parse(fixture.bytes("shards/model.safetensors.index.json"))
      let weights = try tensors(fixture.path("whole/model.safetensors"))
      #expect(
        index["metadata"]?["total_size"]?.intValue == weights.values.reduce(0) { $0 + $1.byteCount }
      )
      #expect(
        index["metadata"]?["total_parameters"]?.intValue
          == weights.values.reduce(0) { $0 + $1.count })
      let checkpoint = try SafetensorsCheckpoint(directory: fixture.path("shards"))
      #expect(checkpoint.files.count > 2)
      #expect(Set(checkpoint.names) == Set(weights.keys))
      for (name, tensor) in weights {
        #expect(try checkpoint.tensor(name).map { $0.isEqual(to: tensor) } == true, "\(name)")
      }
      for (words, output) in [
        (["quantize", "--model", "model", "--format", "int8"], "int8"),
        (
          [
            "train", "--model", "model", "--data", "rows.jsonl", "--max-steps", "2", "--method",
            "full",
          ],
          "full"
        ),
      ] {
        let files = try run(words + ["--max-shard-size", "9kb"], naming: output)
        #expect(files.contains("model.safetensors.index.json"), "\(files)")
        #expect(try fixture.evaluatedLoss("--model", output) > 0)
      }
      for size in ["0", "-1", "5XB", "GB", "nanGB", "1e30GB"] {
        try fixture.expectFailure(
          64, naming: ["max-shard-size"], merge + ["--output", "x", "--max-shard-size", size])
      }
    }
  }
}
