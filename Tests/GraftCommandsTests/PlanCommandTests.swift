import Foundation
import JSONValues
import TestSupport
import Testing

/// `graft plan`.
@Suite struct PlanCommandTests {
  private func plan(_ fixture: CommandFixture, _ more: [String] = []) throws -> JSON {
    let before = try Set(FileManager.default.subpathsOfDirectory(atPath: fixture.directory))
    let result = try GraftProcess.run(
      ["plan", "--model", "model", "--data", "rows.jsonl", "--rank", "4", "--json"] + more,
      directory: fixture.directory)
    #expect(result.code == 0, "\(result.errors)")
    let after = try Set(FileManager.default.subpathsOfDirectory(atPath: fixture.directory))
    #expect(after == before, "a plan writes nothing")
    return try JSON.parse(Data(result.output.utf8))
  }

  /// A model of more blocks than the trials have.
  private func deep() -> TinyModel {
    var model = TinyModel()
    model.layerCount = 8
    return model
  }

  @Test func `figures of files are those of the run`() throws {
    try CommandFixture.with(deep()) { fixture in
      let options = ["--batch-size", "4", "--max-steps", "6", "--save-every", "2", "--keep", "1"]
      let plan = try plan(fixture, options)
      #expect(plan["blocks"]?.intValue == 8)
      #expect(plan["trial_blocks"]?.arrayValue?.compactMap(\.intValue) == [1, 3])
      #expect(plan["steps"]?.intValue == 6 && plan["checkpoints"]?.intValue == 2)
      try fixture.train(options)
      let path = fixture.path("run/checkpoints/step-00000006")
      let sizes = try FileManager.default.contentsOfDirectory(atPath: path).map { name in
        try FileManager.default.attributesOfItem(atPath: path + "/" + name)[.size] as? Int ?? 0
      }
      let (real, planned) = (
        Double(sizes.reduce(0, +)), try #require(plan["checkpoint_bytes"]?.doubleValue)
      )
      // Names of tensors and numbers in state.json are not equally long.
      #expect(abs(planned / real - 1) < 0.02, "\(planned) planned, \(real) bytes")
      // The parts are the whole.
      let memory = try #require(plan["memory"]?.objectValue)
      let sum = memory.reduce(0) { $0 + ($1.value.doubleValue ?? 0) }
      let peak = try #require(plan["peak_memory_bytes"]?.doubleValue)
      #expect(abs(sum / peak - 1) < 0.01)
      let measured = try #require(fixture.metrics().last?["peak_memory_bytes"]?.doubleValue)
      #expect(abs(peak / measured - 1) < 0.1, "\(peak) planned, \(measured) bytes")
      #expect(try #require(plan["seconds_per_step"]?.doubleValue) > 0)
    }
  }

  @Test func `trained weights are counted`() throws {
    try CommandFixture.with(deep()) { fixture in
      let few = try plan(fixture, ["--rank", "2"])["memory"]?["trained weights"]?.doubleValue
      let many = try plan(fixture, ["--rank", "8"])["memory"]?["trained weights"]?.doubleValue
      // Four times the numbers, beside the file's header.
      let ratio = try #require(many) / #require(few)
      #expect(2 < ratio && ratio < 4, "\(ratio)")
    }
  }

  @Test func `what cannot be is named`() throws {
    try CommandFixture.with { fixture in
      let words = ["plan", "--model", "model", "--data", "rows.jsonl"]
      try fixture.expectFailure(64, naming: ["--data"], ["plan", "--model", "model"])
      try fixture.expectFailure(64, naming: ["--processes", "0"], words + ["--processes", "0"])
      try fixture.expectFailure(64, naming: ["--resume"], words + ["--resume", "run"])
      try fixture.expectFailure(
        64, naming: ["a trial run failed", "(r) is 0"], words + ["--rank", "0", "--quiet"])
      try fixture.expectFailure(
        66, naming: ["none.jsonl"], ["plan", "--model", "model", "--data", "none.jsonl"])
      try fixture.write("model/config.json", #"{"model_type": "llama", "num_hidden_layers": 77}"#)
      try fixture.expectFailure(65, naming: ["config.json", "number of blocks"], words)
    }
  }
}
