import Checkpoints
import Foundation
import JSONValues
import TestSupport
import Testing

/// `graft train --optimizer`.
@Suite struct OptimizerCommandTests {
  /// Matrices of 128 x 128 with rank 32: 4,096 elements, which are put into codes.
  private func withFixture(_ body: (CommandFixture) throws -> Void) throws {
    var model = TinyModel()
    (model.hiddenSize, model.intermediateSize, model.layerCount) = (128, 128, 1)
    try CommandFixture.with(model, body)
  }

  @Test(arguments: ["adamw-8bit", "paged_lion_8bit", "ademamix-8bit", "lars", "paged-adamw"])
  func `a resumed run ends with the same numbers`(_ name: String) throws {
    try withFixture { fixture in
      let recipe = [
        "--optimizer", name, "--rank", "32", "--max-steps", "24", "--save-every", "8", "--keep",
        "9", "--dropout", "0.1", "--learning-rate", "1e-3",
      ]
      try fixture.train(recipe, output: "whole")
      let losses = try fixture.losses("whole")
      #expect(losses.count == 24 && losses.allSatisfy(\.isFinite))
      if name != "lars" { #expect(losses[23] < losses[0]) }
      let files = FileManager.default
      try files.copyItem(atPath: fixture.path("whole"), toPath: fixture.path("run"))
      for step in ["16", "24"] {
        try files.removeItem(atPath: fixture.path("run/checkpoints/step-000000" + step))
      }
      try files.removeItem(atPath: fixture.path("run/adapter_model.safetensors"))
      let result = try fixture.graft("train", "--resume", "run")
      #expect(result.code == 0 && result.errors.contains("after step 8"), "\(result.errors)")
      #expect(try fixture.losses("run") == losses)
      for file in [
        "adapter_model.safetensors", "checkpoints/step-00000024/optimizer.safetensors",
      ] { #expect(try fixture.bytes("run/" + file) == fixture.bytes("whole/" + file)) }
      // Nothing of a paged state is left.
      #expect(
        try files.contentsOfDirectory(atPath: fixture.path("run")).filter { $0.hasPrefix(".") }
          == []
      )
      let state = try SafetensorsFile(
        path: fixture.path("run/checkpoints/step-00000024/optimizer.safetensors"))
      let types = state.entries.filter { $0.name.hasSuffix(".state1") }.map(\.dtype.rawValue)
      #expect(types.contains("U8") == name.hasSuffix("8bit"))
      // The key projections' matrices are small.
      #expect(types.contains("F32"))
    }
  }

  /// A state in a mapped file, also where several processes share it out, gives the numbers of one in
  /// memory.
  @Test(arguments: ["adam", "lamb-8bit"]) func `a state in a file`(_ name: String) throws {
    try withFixture { fixture in
      let common = [
        "--rank", "32", "--max-steps", "6", "--save-every", "3", "--deterministic", "2",
        "--optimizer",
      ]
      try fixture.train(common + [name], output: "memory")
      try fixture.train(common + ["paged-" + name], output: "file")
      let shared = try GraftProcess.run(
        ["launch", "--processes", "2", "--"]
          + fixture.training(common + ["paged-" + name, "--zero", "2"], output: "shared"),
        directory: fixture.directory)
      #expect(shared.code == 0, "\(shared.errors)")
      for other in ["file", "shared"] {
        #expect(try fixture.losses(other) == fixture.losses("memory"))
        let file = "adapter_model.safetensors"
        #expect(try fixture.bytes("\(other)/" + file) == fixture.bytes("memory/" + file))
        let checkpoint = "/checkpoints/step-00000003"
        if other == "shared" {
          try fixture.expectShares(other + checkpoint, 2, of: "memory" + checkpoint)
        } else {
          let state = checkpoint + "/optimizer.safetensors"
          #expect(try fixture.bytes(other + state) == fixture.bytes("memory" + state))
        }
      }
    }
  }

  @Test func `another optimiser cannot go on`() throws {
    try withFixture { fixture in
      let recipe = ["--optimizer", "adamw-8bit", "--rank", "32", "--max-steps", "4"]
      try fixture.train(recipe)
      try FileManager.default.removeItem(atPath: fixture.path("run/adapter_model.safetensors"))
      try fixture.expectFailure(
        64, naming: ["another optimiser", "adamw-8bit before, lion-8bit now"],
        ["train", "--resume", "run", "--optimizer", "lion-8bit", "--max-steps", "8"])
      // Another name, or another place of the state, is no other optimiser.
      let result = try fixture.graft(
        "train", "--resume", "run", "--optimizer", "paged_adamw_8bit", "--max-steps", "8")
      #expect(result.code == 0, "\(result.errors)")
    }
  }

  @Test func `names and settings that cannot be`() throws {
    try CommandFixture.with { fixture in
      for (arguments, mentions) in [
        (["--optimizer", "adamw-8bits"], ["did you mean adamw-8bit?", "ademamix", "paged-"]),
        (["--optimizer", "sophia"], ["sophia", "lion"]), (["--beta1", "1"], ["beta1"]),
        (["--epsilon", "0"], ["epsilon"]),
        (["--optimizer", "lion", "--epsilon", "1e-3"], ["--epsilon", "lion"]),
        (["--optimizer", "paged-sgd-8bit", "--beta2", "0.9"], ["--beta2", "paged-sgd-8bit"]),
        (["--optimizer", "adagrad", "--beta1", "0.9"], ["--beta1", "adagrad"]),
      ] { try fixture.expectFailure(64, naming: mentions, fixture.training(arguments)) }
    }
  }

  @Test func `betas change the run`() throws {
    try CommandFixture.with { fixture in
      for name in ["adamw", "adam"] {
        let words = ["--optimizer", name]
        try fixture.train(words, output: name)
        try fixture.train(
          words + ["--beta1", "0.5", "--beta2", "0.9", "--epsilon", "1e-3"], output: name + "-other"
        )
        #expect(try fixture.losses(name) != fixture.losses(name + "-other"))
      }
    }
  }
}
