import Foundation
import TestSupport
import Testing

/// Optimisers that processes share out, and what they save.
extension LaunchTests {
  /// An optimiser that is shared out changes nothing; each process saves its share of the state, with
  /// which others go on.
  @Test(arguments: [1, 2, 3]) func zero(_ stage: Int) throws {
    try with { fixture in
      let more = ["--deterministic", "4", "--gradient-accumulation", "2", "--save-every", "3"]
      try run(fixture, 1, more, output: "whole")
      try run(fixture, 3, more + ["--zero", "\(stage)"], output: "run")
      try expectSame(fixture, "run")
      let checkpoint = "/checkpoints/step-00000003"
      try fixture.expectShares("run" + checkpoint, 3, of: "whole" + checkpoint)
      // Stopped in the middle, gone on with by other processes and another stage, by one, and by
      // several from the checkpoint of one.
      let files = FileManager.default
      for name in ["run", "whole"] {
        try files.copyItem(atPath: fixture.path(name), toPath: fixture.path(name + "-again"))
      }
      for (name, processes, other) in [
        ("run", 2, 3 - stage % 3), ("run-again", 1, 0), ("whole-again", 4, stage),
      ] {
        try files.removeItem(atPath: fixture.path(name + "/checkpoints/step-00000006"))
        try run(fixture, processes, more + ["--zero", "\(other)", "--resume"], output: name)
        try expectSame(fixture, name)
        let last = "/checkpoints/step-00000006"
        if processes > 1 {
          try fixture.expectShares(name + last, processes, of: "whole" + last)
        } else {
          let file = last + "/optimizer.safetensors"
          #expect(try fixture.bytes(name + file) == fixture.bytes("whole" + file))
          #expect(!fixture.exists(name + last + "/optimizer-00001-of-00001.safetensors"))
        }
      }
    }
  }

  /// A share that is not there is named, and nothing is changed.
  @Test func missingShare() throws {
    try with { fixture in
      let more = ["--max-steps", "4", "--save-every", "4", "--zero", "1"]
      try run(fixture, 3, more, output: "run")
      let share = "optimizer-00003-of-00003.safetensors"
      try FileManager.default.removeItem(
        atPath: fixture.path("run/checkpoints/step-00000004/" + share))
      let before = try fixture.snapshot("run")
      for processes in [1, 2] {
        let result = try run(
          fixture, processes, ["--max-steps", "6", "--resume"], output: "run", expecting: 65)
        #expect(result.errors.contains("lacks \(share)"), "\(result.errors)")
      }
      #expect(try fixture.snapshot("run") == before)
    }
  }

  /// A rank that cannot write its share ends the run; the checkpoint before stays.
  @Test func shareThatCannotBeWritten() throws {
    try with { fixture in
      let more = ["--max-steps", "4", "--save-every", "4", "--zero", "1"]
      try run(fixture, 2, more, output: "run")
      let before = try fixture.snapshot("run/checkpoints")
      let train = words(
        ["--max-steps", "8", "--save-every", "4", "--zero", "1", "--resume"], output: "run")
      // Files of more than 8 blocks of 1024 bytes are refused, and the signal for that is ignored.
      let ranks = try RankProcesses(
        2,
        [
          "-c",
          #"trap "" XFSZ; if [ $RANK = 1 ]; then ulimit -f 8; fi; graft=$0; exec "$graft" "$@""#,
          GraftProcess.productsDirectory.appendingPathComponent("graft").path,
        ] + train, program: "/bin/bash", directory: fixture.directory)
      let results = try ranks.wait()
      #expect(results.map(\.code) == [69, 73], "\(results)")
      for result in results {
        #expect(
          result.errors.contains("step-00000008/optimizer-00002-of-00002.safetensors"),
          "\(result.errors)")
      }
      #expect(try fixture.snapshot("run/checkpoints") == before)
    }
  }

  /// Methods that look at gradients or change parameters after each update, and those with a penalty.
  @Test(
    arguments: [
      (["--method", "adalora"], 1), (["--method", "adalora"], 3),
      (["--method", "adamss", "--adapter-fields", Self.adamss], 2),
      (["--method", "adamss", "--adapter-fields", Self.adamss], 3),
      (["--adapter-fields", #"{"kasa_config": {}}"#], 3),
    ])
  func zeroBetweenUpdates(_ method: [String], _ stage: Int) throws {
    try with { fixture in
      let more =
        method + ["--deterministic", "4", "--gradient-accumulation", "2", "--save-every", "3"]
      try run(fixture, 1, more, output: "whole")
      try run(fixture, 3, more + ["--zero", "\(stage)"], output: "run")
      try expectSame(fixture, "run")
      let checkpoint = "/checkpoints/step-00000003"
      try fixture.expectShares("run" + checkpoint, 3, of: "whole" + checkpoint)
      let file = checkpoint + "/adapter_model.safetensors"
      #expect(try fixture.bytes("run" + file) == fixture.bytes("whole" + file))
      try FileManager.default.removeItem(atPath: fixture.path("run/checkpoints/step-00000006"))
      try run(fixture, 2, more + ["--zero", "\(3 - stage % 3)", "--resume"], output: "run")
      try expectSame(fixture, "run")
    }
  }

  private static let adamss =
    #"{"r": 8, "num_subspaces": 2, "use_asa": true, "asa_target_subspaces": 4, "init_warmup": 1, "#
    + #""final_warmup": 5, "mask_interval": 2}"#
}
