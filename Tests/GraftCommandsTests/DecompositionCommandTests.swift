import Checkpoints
import Foundation
import JSONValues
import Tensors
import TestSupport
import Testing

/// `extract`, `resize`, `blend`, `decompose` and `inspect --spectrum`.
@Suite struct DecompositionCommandTests {
  /// Runs `body` with two trained adapters, `one` of rank 4 and `two` of rank 2, and a model `tuned`
  /// into which the first was merged.
  private func withAdapters(_ body: (CommandFixture) throws -> Void) throws {
    try CommandFixture.with { fixture in
      try fixture.train(output: "one")
      try fixture.train(["--rank", "2", "--seed", "5", "--rslora"], output: "two")
      let merged = try fixture.graft(
        "merge", "--model", "model", "--adapter", "one", "--output", "tuned")
      #expect(merged.code == 0, "\(merged.errors)")
      try body(fixture)
    }
  }

  private func json(_ fixture: CommandFixture, _ arguments: String...) throws -> JSON {
    let result = try GraftProcess.run(arguments + ["--json"], directory: fixture.directory)
    #expect(result.code == 0, "\(result.errors)")
    return try JSON.parse(Data(result.output.utf8))
  }

  private func loss(_ fixture: CommandFixture, _ adapter: String?) throws -> Double {
    guard let adapter else { return try fixture.evaluatedLoss("--model", "model") }
    return try fixture.evaluatedLoss("--model", "model", "--adapter", adapter)
  }

  @Test func extractGivesBackWhatWasMerged() throws {
    try withAdapters { fixture in
      let told = try json(
        fixture, "extract", "--base", "model", "--tuned", "tuned", "--rank", "4", "--output", "a")
      let rows = try #require(told["layers"]?.arrayValue)
      #expect(rows.count == 14)
      // Rounding to float32 when it was merged is all that is left.
      #expect(try #require(told["energy_lost"]?.doubleValue) < 1e-6)
      #expect(told["unchanged"]?.arrayValue == ["lm_head"])
      #expect(told["other_parameters"]?.arrayValue?.isEmpty == true)
      #expect(try abs(loss(fixture, "a") - loss(fixture, "one")) < 1e-4)
      #expect(try abs(loss(fixture, nil) - loss(fixture, "one")) > 1e-2)
      let config = try JSON.parse(fixture.bytes("a/adapter_config.json"))
      #expect(config["r"] == 4 && config["base_model_name_or_path"] == "model")
      let names = config["target_modules"]?.arrayValue?.compactMap(\.stringValue)
      #expect(names?.contains("q_proj") == true && names?.count == 7)
      // By energy, and as text.
      let result = try fixture.graft(
        "extract", "--base", "model", "--tuned", "tuned", "--energy", "0.7", "--output", "b")
      #expect(result.code == 0 && result.output.contains("energy lost"), "\(result.errors)")
      let ranks = try JSON.parse(fixture.bytes("b/adapter_config.json"))
      #expect(ranks["rank_pattern"]?.objectValue?.count != 0)
      #expect(ranks["rank_pattern"] == ranks["alpha_pattern"])
      #expect(try loss(fixture, "b") < loss(fixture, nil))
    }
  }

  @Test func changedNormsAreToldAndKept() throws {
    try CommandFixture.with { fixture in
      try FileManager.default.copyItem(
        atPath: fixture.path("model"), toPath: fixture.path("tuned"))
      let weights = TinyModel().weights.map { name, tensor in
        (
          name: name,
          tensor: name.contains("up_proj") || name == "model.norm.weight" ? tensor * 1.2 : tensor
        )
      }
      try SafetensorsWriter.save(fixture.path("tuned/model.safetensors"), tensors: weights)
      let plain = try fixture.graft(
        "extract", "--base", "model", "--tuned", "tuned", "--rank", "3", "--output", "a")
      #expect(plain.output.contains("model.norm.weight: no linear weight"), "\(plain.output)")
      #expect(plain.output.contains("--keep-other-parameters"))
      let told = try json(
        fixture, "extract", "--base", "model", "--tuned", "tuned", "--rank", "16", "--output", "b",
        "--keep-other-parameters")
      #expect(told["keeps_other_parameters"] == true)
      let config = try JSON.parse(fixture.bytes("b/adapter_config.json"))
      #expect(config["modules_to_save"] == ["model.norm"])
      let merged = try fixture.graft(
        "merge", "--model", "model", "--adapter", "b", "--output", "again")
      #expect(merged.code == 0, "\(merged.errors)")
      let again = try SafetensorsFile(path: fixture.path("again/model.safetensors"))
      for (name, tensor) in weights {
        let found = try again.tensor(#require(again[name]))
        expectClose(found, tensor, absolute: 1e-5, relative: 1e-4)
      }
    }
  }

  /// What quantising lost is a full-rank update like any other.
  @Test func extractFromAQuantisedBase() throws {
    try CommandFixture.with { fixture in
      let quantized = try fixture.graft(
        "quantize", "--model", "model", "--format", "nf4", "--output", "codes")
      #expect(quantized.code == 0, "\(quantized.errors)")
      let told = try json(
        fixture, "extract", "--base", "codes", "--tuned", "model", "--rank", "16", "--output", "a")
      #expect(told["layers"]?.arrayValue?.count == 14)
      let exact = try fixture.evaluatedLoss("--model", "model")
      let codes = try abs(fixture.evaluatedLoss("--model", "codes") - exact)
      let mended = try abs(fixture.evaluatedLoss("--model", "codes", "--adapter", "a") - exact)
      #expect(mended < 1e-4 && codes > 10 * mended)
    }
  }

  @Test func resizeUpIsExactAndDownTellsItsLoss() throws {
    try withAdapters { fixture in
      let up = try json(
        fixture, "resize", "--adapter", "two", "--rank", "6", "--output", "up")
      #expect(up["energy_lost"] == 0.0)
      #expect(try abs(loss(fixture, "up") - loss(fixture, "two")) < 1e-6)
      let down = try json(
        fixture, "resize", "--adapter", "up", "--rank", "1", "--output", "down")
      let lost = try #require(down["energy_lost"]?.doubleValue)
      #expect(lost > 0 && lost < 0.5)
      let back = try json(
        fixture, "resize", "--adapter", "up", "--energy", "0.999999", "--output", "back")
      for row in try #require(back["layers"]?.arrayValue) {
        #expect(try #require(row["rank"]?.intValue) <= 2)
      }
      #expect(try abs(loss(fixture, "back") - loss(fixture, "two")) < 1e-3)
      // A resized adapter can be trained on.
      let trainable = try fixture.graft(
        "resize", "--adapter", "two", "--rank", "6", "--output", "more", "--trainable-rows")
      #expect(trainable.code == 0)
      let result = try fixture.graft(
        "train", "--model", "model", "--adapter", "more", "--data", "rows.jsonl", "--output",
        "longer", "--max-steps", "3", "--learning-rate", "1e-2")
      #expect(result.code == 0, "\(result.errors)")
      let file = try SafetensorsFile(path: fixture.path("longer/adapter_model.safetensors"))
      let entry = try #require(file.entries.first { $0.name.hasSuffix("lora_B.weight") })
      #expect(try file.tensor(entry).narrowed(1, 2..<6).norm().item() > 0)
    }
  }

  @Test func blendIsTheSumByDefault() throws {
    try withAdapters { fixture in
      let told = try json(
        fixture, "blend", "--adapter", "one=0.7", "--adapter", "two=0.3", "--output", "c")
      #expect(told["combination"] == "cat")
      #expect(try #require(told["largest_relative_error"]?.doubleValue) < 1e-6)
      #expect(told["layers"]?.arrayValue?.allSatisfy { $0["rank"] == 6 } == true)
      // Negative weights take it out again.
      _ = try json(
        fixture, "blend", "--adapter", "c=1", "--adapter", "two=-0.3", "--output", "d")
      _ = try json(fixture, "blend", "--adapter", "one=0.7", "--output", "e")
      #expect(try abs(loss(fixture, "d") - loss(fixture, "e")) < 1e-4)
      let near = try json(
        fixture, "blend", "--adapter", "one=0.7", "--adapter", "two=0.3", "--rank", "2",
        "--output", "f")
      #expect(near["combination"] == "svd")
      let error = try #require(near["largest_relative_error"]?.doubleValue)
      #expect(error > 1e-3 && error < 1)
      for (kind, more) in [
        ("linear", []), ("ties", ["--density", "0.5"]), ("dare_linear", ["--density", "0.5"]),
        ("magnitude_prune_svd", ["--density", "0.5", "--rank", "3"]),
      ] as [(String, [String])] {
        let result = try GraftProcess.run(
          [
            "blend", "--adapter", "one=0.5", "--adapter", "d=0.5", "--combination", kind,
            "--output", kind,
          ] + more, directory: fixture.directory)
        // Of ranks 4 and 8 the factors do not fit.
        #expect(result.code == (kind.hasSuffix("_svd") ? 0 : 65), "\(kind): \(result.errors)")
        #expect(result.code == 0 || result.errors.contains("ranks 4 and 8"))
      }
      let linear = try fixture.graft(
        "blend", "--adapter", "one=0.5", "--adapter", "one=0.5", "--combination", "linear",
        "--output", "g")
      #expect(linear.code == 0 && linear.output.contains("from the weighted sum"))
    }
  }

  @Test func spectraInTerminalAndPictures() throws {
    try withAdapters { fixture in
      let told = try json(
        fixture, "inspect", "one", "--spectrum", "--against", "two", "--base", "model",
        "--picture", "one.svg")
      #expect(told["spectrum"]?.objectValue?.count == 14)
      for row in try #require(told["spectrum_details"]?.arrayValue) {
        #expect(row["energy"]?.arrayValue?.last == 1.0)
        #expect(row["left_angles"]?.arrayValue?.count == 2)
        let norm = try #require(row["relative_norm"]?.doubleValue)
        #expect(norm > 0 && norm < 1)
      }
      for name in ["one.svg", "one.html"] {
        let result = try fixture.graft(
          "inspect", "one", "--spectrum", "--against", "two", "--picture", name)
        #expect(result.code == 0, "\(result.errors)")
        #expect(result.output.contains("effective rank") && result.output.contains("overlap"))
        let text = String(decoding: try fixture.bytes(name), as: UTF8.self)
        #expect(text.contains("</svg>") && text.contains("q_proj"))
        #expect(text.contains("<polyline") && text.contains("<rect"))
        #expect(!text.contains("nan") && !text.contains("inf"))
        let opened = text.split(separator: "<text ").count - 1
        #expect(opened > 20 && opened == text.split(separator: "</text>").count - 1)
        #expect(name == "one.svg" || text.contains("<td>model.layers.0.self_attn.q_proj</td>"))
      }
      // The change of a model, without any adapter.
      let change = try json(fixture, "inspect", "tuned", "--spectrum", "--base", "model")
      for row in try #require(change["spectrum_details"]?.arrayValue) {
        let isHead = row["path"] == "lm_head"
        #expect(row["effective_rank"]?.doubleValue.map { isHead ? $0 == 0 : $0 < 5 } == true)
      }
      let weights = try json(fixture, "inspect", "model", "--spectrum")
      #expect(weights["spectrum"]?["lm_head"]?.arrayValue?.count == 16)
    }
  }

  @Test func decomposeAMatrixOfAFile() throws {
    try CommandFixture.with { fixture in
      let matrix = Tensor([3, 0, 0, 0, -2, 0] as [Double], shape: [2, 3])
      try SafetensorsWriter.save(fixture.path("m.safetensors"), tensors: [("w", matrix)])
      let told = try json(
        fixture, "decompose", "m.safetensors", "--rank", "1", "--output", "o.safetensors")
      #expect(told["values"] == [3.0, 2.0] && told["rank"] == 1)
      #expect(told["error"] == 2.0)
      let file = try SafetensorsFile(path: fixture.path("o.safetensors"))
      #expect(Set(file.entries.map(\.name)) == ["u", "s", "vt"])
      try fixture.expectFailure(
        65, naming: ["rectangular", "singular values"],
        ["decompose", "m.safetensors", "--method", "eigen", "--output", "p.safetensors"])
      try fixture.expectFailure(
        65, naming: ["lacks", "x"], ["decompose", "m.safetensors", "--tensor", "x"])
      try fixture.expectFailure(
        64, naming: ["--rank"], ["decompose", "m.safetensors", "--rank", "3"])
      try fixture.expectFailure(
        66, naming: ["none.safetensors"], ["decompose", "none.safetensors"])
    }
  }

  @Test func badInput() throws {
    try withAdapters { fixture in
      let extract = ["extract", "--base", "model", "--tuned", "tuned", "--output", "x"]
      try fixture.expectFailure(64, naming: ["--rank", "--energy"], extract)
      try fixture.expectFailure(
        64, naming: ["--rank", "--energy"], extract + ["--rank", "2", "--energy", "0.5"])
      try fixture.expectFailure(64, naming: ["rank is 0"], extract + ["--rank", "0"])
      try fixture.expectFailure(64, naming: ["energy is 2"], extract + ["--energy", "2"])
      try fixture.expectFailure(
        64, naming: ["--base", "--tuned", "--output"], ["extract", "--rank", "2"])
      try fixture.expectFailure(
        66, naming: ["absent"],
        ["extract", "--base", "model", "--tuned", "absent", "--output", "x", "--rank", "2"])
      try fixture.expectFailure(
        65, naming: ["same weights"],
        ["extract", "--base", "model", "--tuned", "model", "--output", "x", "--rank", "2"])
      try fixture.expectFailure(
        73, naming: ["one"],
        ["extract", "--base", "model", "--tuned", "tuned", "--output", "one", "--rank", "2"])
      var other = TinyModel()
      other.hiddenSize = 32
      try other.write(to: fixture.path("wide"))
      try fixture.expectFailure(
        65, naming: ["[260, 16]", "[260, 32]"],
        ["extract", "--base", "model", "--tuned", "wide", "--output", "x", "--rank", "2"])
      let resize = ["resize", "--output", "x", "--rank", "2", "--adapter"]
      try fixture.expectFailure(66, naming: ["absent"], resize + ["absent"])
      try fixture.expectFailure(66, naming: ["adapter_config.json"], resize + ["model"])
      let blend = ["blend", "--output", "x"]
      try fixture.expectFailure(64, naming: ["--adapter"], blend)
      try fixture.expectFailure(
        64, naming: ["one=much", "DIR=WEIGHT"], blend + ["--adapter", "one=much"])
      try fixture.expectFailure(
        64, naming: ["--combination", "tie"], blend + ["--adapter", "one", "--combination", "tie"])
      try fixture.expectFailure(
        64, naming: ["density"], blend + ["--adapter", "one", "--combination", "ties"])
      try fixture.expectFailure(
        64, naming: ["--spectrum"], ["inspect", "one", "--against", "two"])
      try fixture.expectFailure(
        64, naming: [".svg"], ["inspect", "one", "--spectrum", "--picture", "a.png"])
      // Numbers that are none.
      for (name, place) in [("model", "tuned/model"), ("adapter_model", "one/adapter_model")] {
        let path = fixture.path(place + ".safetensors")
        let tensors = try SafetensorsFile(path: path).tensors().map { key, tensor in
          (name: key, tensor: key.contains("0.mlp.up_proj") ? tensor * .nan : tensor.cloned())
        }
        try SafetensorsWriter.save(path, tensors: tensors)
        if name == "model" {
          try fixture.expectFailure(
            65, naming: ["layers.0.mlp.up_proj", "tuned"], extract + ["--rank", "2"])
        } else {
          for verb in [
            resize + ["one"], blend + ["--adapter", "one=1"],
            ["inspect", "one", "--spectrum", "--picture", "a.svg"],
          ] {
            try fixture.expectFailure(65, naming: ["layers.0.mlp.up_proj"], verb)
          }
        }
      }
    }
  }
}
