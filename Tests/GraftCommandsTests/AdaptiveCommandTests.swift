import Checkpoints
import Foundation
import JSONValues
import Tensors
import TestSupport
import Testing

/// Commands with methods that act between steps, or by task.
@Suite struct AdaptiveCommandTests {
  @Test func adaLoRATakesTheRunsLength() throws {
    try CommandFixture.with { fixture in
      try fixture.train(["--method", "adalora"])
      let config = try JSON.read(path: fixture.path("run/adapter_config.json"))
      #expect(config["peft_type"] == "ADALORA")
      #expect(config["total_step"] == 6)
      #expect(config["target_r"] == 4)
      // 2 blocks of 2 default layers each: 4 ranks left of 12 in the mean.
      let masks = try #require(config["rank_pattern"]?.objectValue)
      #expect(masks.count == 4)
      #expect(masks.reduce(0) { $0 + ($1.value.arrayValue?.count { $0 == true } ?? 0) } == 16)
      try fixture.write(
        "late.json",
        #"{"peft_type": "ADALORA", "target_r": 4, "tinit": 3, "tfinal": 3, "task_type": null}"#)
      let refused = try fixture.train(
        ["--adapter-config", "late.json"], output: "late", expecting: 64)
      #expect(refused.errors.contains("tinit + tfinal is 3 + 3"), "\(refused.errors)")
      #expect(refused.errors.contains("6 updates"), "\(refused.errors)")
      // A run that is to be replaced is still there then.
      let before = try fixture.snapshot("run")
      try fixture.train(["--adapter-config", "late.json", "--overwrite"], expecting: 64)
      #expect(try fixture.snapshot("run") == before)
    }
  }

  /// Answers are asked for without a task: that is said before the model is opened.
  @Test func exactMatchIsForOneTask() throws {
    try CommandFixture.with { fixture in
      try FileManager.default.createDirectory(
        atPath: fixture.path("tasks"), withIntermediateDirectories: true)
      try fixture.write("tasks/adapter_config.json", #"{"peft_type": "POLY", "n_tasks": 3}"#)
      try fixture.expectFailure(
        64, naming: ["exact-match", "3 tasks"],
        [
          "evaluate", "--model", "absent", "--adapter", "tasks", "--data", "rows.jsonl",
          "--metrics", "exact-match",
        ])
    }
  }

  /// As PEFT, which warns of it too.
  @Test func settingsThatAreChangedAreSaid() throws {
    try CommandFixture.with { fixture in
      func said(_ size: Int) throws -> String {
        let result = try fixture.graft(
          "train", "--model", "model", "--data", "rows.jsonl", "--output", "run-\(size)",
          "--max-steps", "1", "--method", "oft", "--adapter-fields",
          #"{"oft_block_size": \#(size)}"#)
        #expect(result.code == 0, "\(result.errors)")
        return result.errors
      }
      let changed = try said(5)
      #expect(
        changed.contains(
          "warning: oft_block_size 5 does not divide the 16 inputs of "
            + "model.layers.0.self_attn.q_proj and 3 more; it is 4 there"), "\(changed)")
      let fitting = try said(4)
      #expect(!fitting.contains("warning"), "\(fitting)")
    }
  }

  @Test func tasksOfRows() throws {
    try CommandFixture.with { fixture in
      try fixture.write("poly.json", #"{"peft_type": "POLY", "n_tasks": 2, "r": 4}"#)
      let rows = CommandFixture.rows(16).split(separator: "\n")
        .map { $0.dropLast() + ", \"task_id\": 0}\n" }
      try fixture.write("rows.jsonl", rows.joined())
      try fixture.train(["--adapter-config", "poly.json"])
      // Rows may name tasks of something else.
      try fixture.write("one.json", #"{"peft_type": "POLY", "r": 4}"#)
      try fixture.write(
        "rows.jsonl", rows.joined().replacing("\"task_id\": 0", with: "\"task_id\": 7"))
      try fixture.train(["--adapter-config", "one.json"], output: "one")
      let ids = Tensor([7, 3, 200, 7, 3, 200] as [Int64], shape: [2, 3])
      func logits(_ tasks: [Int64], expecting code: Int32 = 0) throws -> Tensor? {
        try SafetensorsWriter.save(
          fixture.path("in.safetensors"),
          tensors: [("input_ids", ids), ("task_ids", Tensor(tasks))])
        let result = try fixture.graft(
          "forward", "--model", "model", "--adapter", "run", "--input", "in.safetensors",
          "--output", "out.safetensors")
        #expect(result.code == code, "\(result.errors)")
        guard code == 0 else {
          #expect(result.errors.contains("task_ids"), "\(result.errors)")
          return nil
        }
        return try SafetensorsFile(path: fixture.path("out.safetensors")).tensors()
          .first { $0.name == "logits" }?.tensor
      }
      func distance(_ logits: Tensor?) throws -> Double {
        let found = try #require(logits)
        return (found.selected(0, 0) - found.selected(0, 1)).absolute().max().item()
      }
      let (apart, together) = (
        try distance(try logits([0, 1])), try distance(try logits([1, 1]))
      )
      #expect(apart > 1e-4 && together < 1e-5, "\(apart), \(together)")
      _ = try logits([0, 2], expecting: 65)
      _ = try logits([0], expecting: 65)
    }
  }
}
