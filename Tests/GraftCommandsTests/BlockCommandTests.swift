import Foundation
import JSONValues
import TestSupport
import Testing

/// Bases whose frozen blocks are elsewhere than in each process's memory.
@Suite struct BlockCommandTests {
  private static var tiny: TinyModel { TinyModel { $0.layerCount = 3 } }

  private func expectSame(
    _ fixture: CommandFixture, _ name: String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    #expect(
      try fixture.losses(name) == fixture.losses("whole"), sourceLocation: sourceLocation)
    let (expected, found) = try (fixture.metrics("whole"), fixture.metrics(name))
    for key in ["gradient_norm", "eval_loss"] {
      #expect(
        found.map { $0[key] } == expected.map { $0[key] }, sourceLocation: sourceLocation)
    }
    let file = "adapter_model.safetensors"
    #expect(
      try fixture.bytes("\(name)/\(file)") == fixture.bytes("whole/\(file)"),
      sourceLocation: sourceLocation)
  }

  private static let formats = [
    [], ["--quantize", "int8"], ["--quantize", "nf4", "--double-quant"],
    ["--precision", "bfloat16"],
  ]

  /// On disk, with blocks computed again and without.
  @Test(arguments: formats, [false, true]) func disk(_ format: [String], again: Bool) throws {
    try CommandFixture.with(Self.tiny) { fixture in
      let more =
        format + (again ? ["--activation-checkpointing"] : [])
        + ["--eval-data", "rows.jsonl", "--eval-every", "3"]
      try fixture.train(more, output: "whole")
      try fixture.train(more + ["--base-offload", "disk"], output: "run")
      try expectSame(fixture, "run")
      // Nothing is left beside the run.
      let names = try FileManager.default.contentsOfDirectory(atPath: fixture.directory).sorted()
      #expect(names == ["model", "rows.jsonl", "run", "whole"])
    }
  }

  private func launch(
    _ fixture: CommandFixture, _ processes: Int, _ more: [String], output: String,
    expecting code: Int32 = 0, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let result = try GraftProcess.run(
      ["launch", "--processes", "\(processes)", "--"] + fixture.training(more, output: output),
      directory: fixture.directory)
    #expect(result.code == code, "\(result.errors)", sourceLocation: sourceLocation)
  }

  /// Shared out, the numbers of one process, evaluation among them; some processes have no part of an
  /// update's last round.
  @Test(arguments: formats, [false, true]) func shared(_ format: [String], again: Bool) throws {
    try CommandFixture.with(Self.tiny) { fixture in
      let more =
        format + (again ? ["--activation-checkpointing"] : [])
        + ["--eval-data", "rows.jsonl", "--eval-every", "3", "--deterministic", "4"]
      try fixture.train(more, output: "whole")
      for processes in again ? [3] : [2, 4] {
        try launch(fixture, processes, more + ["--zero", "3"], output: "run\(processes)")
        try expectSame(fixture, "run\(processes)")
      }
    }
  }

  /// A head of its own, and shares of the base that lie in files.
  @Test(arguments: [[], ["--base-offload", "disk"]]) func untied(_ more: [String]) throws {
    var tiny = Self.tiny
    tiny.tiesEmbeddings = false
    try CommandFixture.with(tiny) { fixture in
      let common = ["--eval-data", "rows.jsonl", "--eval-every", "3", "--deterministic", "4"]
      try fixture.train(common, output: "whole")
      try launch(fixture, 3, common + more + ["--zero", "3"], output: "run")
      try expectSame(fixture, "run")
      let names = try FileManager.default.contentsOfDirectory(atPath: fixture.directory).sorted()
      #expect(names == ["model", "rows.jsonl", "run", "whole"])
    }
  }

  /// Both stacks of a T5 and a BART, from disk and shared out, for texts and for classes of rows.
  @Test(arguments: [false, true], [[], ["--activation-checkpointing"], ["--quantize", "nf4"]])
  func encoderAndDecoder(isBART: Bool, _ more: [String]) throws {
    try CommandFixture.with { fixture in
      try TinySeq2Seq { $0.isBART = isBART }.write(to: fixture.path("model"))
      try fixture.write(
        "rows.jsonl",
        (0..<12).map {
          #"{"source": "text \#($0)", "target": "\#(String(repeating: "ab", count: 1 + $0 % 3))"}"#
            + "\n"
        }.joined())
      let common =
        more + ["--eval-data", "rows.jsonl", "--eval-every", "3", "--deterministic", "4"]
      try fixture.train(common, output: "whole")
      try fixture.train(common + ["--base-offload", "disk"], output: "disk")
      try expectSame(fixture, "disk")
      for processes in more.isEmpty ? [2, 4] : [3] {
        try launch(fixture, processes, common + ["--zero", "3"], output: "run\(processes)")
        try expectSame(fixture, "run\(processes)")
      }
    }
  }

  /// All weights of a T5, of which numbers for distances stand in a block and are read in front of all.
  @Test func wholeEncoderAndDecoder() throws {
    try CommandFixture.with { fixture in
      try TinySeq2Seq().write(to: fixture.path("model"))
      try fixture.write(
        "rows.jsonl",
        (0..<12).map { #"{"source": "text \#($0)", "target": "\#($0)"}"# + "\n" }.joined())
      func words(_ output: String) -> [String] {
        var words = fixture.training(["--method", "full", "--deterministic", "4"], output: output)
        if let place = words.firstIndex(of: "--rank") { words.removeSubrange(place...(place + 1)) }
        return words
      }
      let alone = try GraftProcess.run(words("whole"), directory: fixture.directory)
      #expect(alone.code == 0, "\(alone.errors)")
      let shared = try GraftProcess.run(
        ["launch", "--processes", "2", "--"] + words("run") + ["--zero", "3"],
        directory: fixture.directory)
      #expect(shared.code == 0, "\(shared.errors)")
      #expect(try fixture.losses("run") == fixture.losses("whole"))
      #expect(
        try fixture.bytes("run/model.safetensors") == fixture.bytes("whole/model.safetensors"))
    }
  }

  /// Methods that read the base when they start or are written, train some of it, or all of it.
  @Test(arguments: [
    ["--init-lora-weights", "pissa"], ["--bias", "all"],
    ["--adapter-fields", #"{"use_dora": true}"#],
    ["--method", "ln-tuning"], ["--method", "full"], ["--modules-to-save", "embed_tokens"],
    ["--target-modules", "q_proj,embed_tokens"],
    ["--method", "prompt-tuning", "--prompt-text", "to be"],
    ["--method", "trainable-tokens", "--adapter-fields", #"{"token_indices": [97, 98]}"#],
    ["--method", "prefix-tuning", "--virtual-tokens", "3"],
  ]) func methods(_ method: [String]) throws {
    try CommandFixture.with(Self.tiny) { fixture in
      let isFull = method.last == "full"
      var more = method + ["--deterministic", "4", "--save-every", "4"]
      func words(_ more: [String], _ output: String) -> [String] {
        var words = fixture.training(more, output: output)
        // Only LoRA has a rank.
        if method[0] == "--method", let place = words.firstIndex(of: "--rank") {
          words.removeSubrange(place...(place + 1))
        }
        return words
      }
      let file = isFull ? "model.safetensors" : "adapter_model.safetensors"
      let alone = try GraftProcess.run(words(more, "whole"), directory: fixture.directory)
      #expect(alone.code == 0, "\(alone.errors)")
      more += ["--zero", "3"]
      let shared = try GraftProcess.run(
        ["launch", "--processes", "2", "--"] + words(more, "run"), directory: fixture.directory)
      #expect(shared.code == 0, "\(shared.errors)")
      #expect(try fixture.losses("run") == fixture.losses("whole"))
      for path in [file, "checkpoints/step-00000004/\(file)"] {
        #expect(try fixture.bytes("run/\(path)") == fixture.bytes("whole/\(path)"), "\(path)")
      }
    }
  }

  /// Encoders with a head, from disk and shared out.
  @Test func heads() throws {
    try CommandFixture.with { fixture in
      try TinyEncoder().write(to: fixture.path("encoder"))
      try fixture.write(
        "labelled.jsonl",
        (0..<12).map {
          #"{"text": "text \#($0)", "label": "\#($0 % 2 == 0 ? "even" : "odd")"}"# + "\n"
        }
        .joined())
      func words(_ more: [String], _ output: String) -> [String] {
        [
          "train", "--model", "encoder", "--task", "sequence-classification", "--data",
          "labelled.jsonl", "--eval-data", "labelled.jsonl", "--output", output, "--max-steps", "4",
          "--batch-size", "4", "--log-every", "1", "--deterministic", "2", "--rank", "2",
        ] + more
      }
      let alone = try GraftProcess.run(words([], "whole"), directory: fixture.directory)
      #expect(alone.code == 0, "\(alone.errors)")
      let disk = try GraftProcess.run(
        words(["--base-offload", "disk"], "disk"), directory: fixture.directory)
      #expect(disk.code == 0, "\(disk.errors)")
      let shared = try GraftProcess.run(
        ["launch", "--processes", "2", "--"] + words(["--zero", "3"], "shared"),
        directory: fixture.directory)
      #expect(shared.code == 0, "\(shared.errors)")
      for name in ["disk", "shared"] { try expectSame(fixture, name) }
    }
  }

  @Test func refusals() throws {
    try CommandFixture.with { fixture in
      for (mention, more) in [
        ("--method full", ["--base-offload", "disk", "--method", "full"]),
        ("--base-offload", ["--base-offload", "tape"]),
        ("--zero is 4", ["--zero", "4"]),
      ] {
        var words = fixture.training(more)
        if more.contains("full"), let place = words.firstIndex(of: "--rank") {
          words.removeSubrange(place...(place + 1))
        }
        try fixture.expectFailure(64, naming: [mention], words)
      }
    }
  }
}
