import Checkpoints
import Foundation
import JSONValues
import Tensors
import TestSupport
import Testing

/// `graft train` and the other commands with virtual tokens and trained tokens.
@Suite struct PromptCommandTests {
  struct Run: CustomTestStringConvertible {
    let method: String
    let type: String
    let options: [String]
    /// Fields of the written configuration.
    var fields: [String: JSON] = [:]
    var isMergeable = false
    var testDescription: String { "\(method) \(options.joined(separator: " "))" }
  }

  static let runs: [Run] = [
    Run(
      method: "prompt-tuning", type: "PROMPT_TUNING", options: ["--virtual-tokens", "5"],
      fields: ["num_virtual_tokens": 5, "prompt_tuning_init": "RANDOM"]),
    Run(
      method: "prompt_tuning", type: "PROMPT_TUNING", options: ["--prompt-text", "Say ab"],
      fields: ["num_virtual_tokens": 6, "prompt_tuning_init_text": "Say ab"]),
    Run(
      method: "prefix-tuning", type: "PREFIX_TUNING", options: ["--prompt-text", "Say ab"],
      fields: ["num_virtual_tokens": 6, "prefix_projection": false]),
    Run(
      method: "prefix-tuning", type: "PREFIX_TUNING",
      options: [
        "--virtual-tokens", "3", "--adapter-fields",
        #"{"prefix_projection": true, "encoder_hidden_size": 12}"#,
      ], fields: ["encoder_hidden_size": 12, "prefix_projection": true]),
    Run(
      method: "p-tuning", type: "P_TUNING",
      options: [
        "--virtual-tokens", "3", "--adapter-fields",
        #"{"encoder_reparameterization_type": "LSTM"}"#, "--dropout", "0.1",
      ], fields: ["encoder_reparameterization_type": "LSTM", "encoder_dropout": 0.1]),
    Run(
      method: "cpt", type: "CPT",
      options: [
        "--prompt-text", "a: b", "--adapter-fields", #"{"opt_projection_format_epsilon": 5}"#,
      ],
      fields: ["num_virtual_tokens": 4, "opt_projection_format_epsilon": 5.0]),
    Run(
      method: "cartridge", type: "CARTRIDGE",
      options: ["--prompt-text", "Say abcd", "--virtual-tokens", "6"],
      fields: ["num_virtual_tokens": 6, "num_frozen_tokens": 1]),
    Run(
      method: "adaption-prompt", type: "ADAPTION_PROMPT",
      options: ["--virtual-tokens", "3", "--adapter-fields", #"{"adapter_layers": 2}"#],
      fields: ["adapter_len": 3, "adapter_layers": 2]),
    Run(
      method: "trainable-tokens", type: "TRAINABLE_TOKENS",
      options: ["--adapter-fields", #"{"token_indices": [97, 98]}"#],
      fields: ["token_indices": [97, 98]], isMergeable: true),
  ]

  private func train(
    _ fixture: CommandFixture, _ more: [String], output: String = "run", data: String = "rows.jsonl"
  ) throws {
    let result = try GraftProcess.run(
      [
        "train", "--model", "model", "--data", data, "--output", output, "--batch-size", "4",
        "--log-every", "1", "--eval-data", data, "--eval-every", "1",
      ] + (more.contains("--max-steps") ? [] : ["--max-steps", "12"])
        + (more.contains("--learning-rate") ? [] : ["--learning-rate", "5e-2"]) + more,
      directory: fixture.directory)
    #expect(result.code == 0, "\(result.errors)")
  }

  private func evaluation(_ fixture: CommandFixture, _ run: String = "run") throws -> [Double] {
    try fixture.metrics(run).compactMap { $0["eval_loss"]?.doubleValue }
  }

  @Test(arguments: runs) func everyCommandTakesThem(_ run: Run) throws {
    try CommandFixture.with { fixture in
      try train(fixture, ["--method", run.method] + run.options)
      let config = try JSON.parse(fixture.bytes("run/adapter_config.json"))
      #expect(config["peft_type"]?.stringValue == run.type)
      for (key, value) in run.fields { #expect(config[key] == value, "\(key)") }
      let losses = try evaluation(fixture)
      #expect(losses.count == 12 && losses.allSatisfy(\.isFinite))
      #expect(losses[11] < losses[0], "\(losses)")
      let common = ["--model", "model", "--adapter", "run"]
      let evaluated = try GraftProcess.run(
        ["evaluate", "--data", "rows.jsonl", "--metrics", "loss,exact-match", "--json"] + common,
        directory: fixture.directory)
      #expect(evaluated.code == 0, "\(evaluated.errors)")
      let loss = try #require(try JSON.parse(Data(evaluated.output.utf8))["loss"]?.doubleValue)
      #expect(abs(loss - losses[11]) < 1e-4)
      let generated = try GraftProcess.run(
        ["generate", "--prompt", "row 1:", "--max-new-tokens", "4", "--json"] + common,
        directory: fixture.directory)
      #expect(generated.code == 0, "\(generated.errors)")
      let merge = ["merge", "--output", "merged"] + common
      if run.isMergeable {
        #expect(try GraftProcess.run(merge, directory: fixture.directory).code == 0)
      } else {
        let refused = try GraftProcess.run(merge, directory: fixture.directory)
        #expect(refused.code != 0)
        #expect(refused.errors.contains("\(run.type) adapters cannot be merged"))
        #expect(!fixture.exists("merged"))
      }
    }
  }

  /// On weights in codes, with blocks computed again and with packed rows.
  @Test(arguments: ["prompt-tuning", "prefix-tuning", "p-tuning", "cartridge", "adaption-prompt"])
  func otherWaysToTrain(_ method: String) throws {
    try CommandFixture.with { fixture in
      let layers =
        method == "adaption-prompt" ? ["--adapter-fields", #"{"adapter_layers": 2}"#] : []
      let common = ["--method", method, "--virtual-tokens", "4"] + layers
      try train(fixture, common, output: "plain")
      try train(fixture, common + ["--activation-checkpointing"], output: "again")
      for (one, other) in zip(try evaluation(fixture, "plain"), try evaluation(fixture, "again")) {
        #expect(abs(one - other) < 1e-4)
      }
      let ways = [
        ["--quantize", "int8"], ["--quantize", "nf4"],
        ["--quantize", "nf4", "--activation-checkpointing", "--packing", "--max-length", "64"],
      ]
      for (index, options) in ways.enumerated() {
        try train(fixture, common + options, output: "way\(index)")
        let losses = try evaluation(fixture, "way\(index)")
        #expect(losses.count == 12 && losses[11] < losses[0], "\(options): \(losses)")
      }
    }
  }

  @Test func whatCannotBe() throws {
    try CommandFixture.with { fixture in
      func refuse(_ mentions: [String], _ options: [String]) throws {
        try fixture.expectFailure(
          64, naming: mentions,
          ["train", "--model", "model", "--data", "rows.jsonl", "--output", "run"] + options)
      }
      try refuse(["--virtual-tokens", "LORA"], ["--virtual-tokens", "4"])
      try refuse(["--prompt-text", "P_TUNING"], ["--method", "p-tuning", "--prompt-text", "x"])
      try refuse(
        ["--virtual-tokens is 3, expected 2"],
        ["--method", "cpt", "--prompt-text", "ab", "--virtual-tokens", "3"])
      try refuse(
        ["--virtual-tokens", "adapter_len of --adapter-fields"],
        [
          "--method", "adaption-prompt", "--virtual-tokens", "3", "--adapter-fields",
          #"{"adapter_len": 4}"#,
        ])
      try refuse(
        ["--virtual-tokens", "--method full"], ["--method", "full", "--virtual-tokens", "3"])
      try refuse(
        ["model's limit of 128", "--max-length to at most 8"],
        ["--method", "prompt-tuning", "--virtual-tokens", "120"])
    }
  }

  private func tasks(_ fixture: CommandFixture, _ task: (Int) -> String) throws {
    let rows = CommandFixture.rows(16).split(separator: "\n").enumerated()
      .map { $1.dropLast() + ", \"task_id\": \(task($0))}\n" }
    try fixture.write("tasks.jsonl", rows.joined())
  }

  /// Each task's matrices learn from its own rows, and commands choose among them.
  @Test func rowsOfSeveralTasks() throws {
    try CommandFixture.with { fixture in
      let options = [
        "--method", "multitask-prompt-tuning", "--virtual-tokens", "3", "--adapter-fields",
        #"{"num_tasks": 2, "num_ranks": 2}"#,
      ]
      func matrices(_ run: String) throws -> Tensor {
        let file = try SafetensorsFile(path: fixture.path(run + "/adapter_model.safetensors"))
        return try file.tensor(try #require(file["prefix_task_rows"])).cloned()
      }
      try tasks(fixture) { "\($0 % 2)" }
      try train(
        fixture, options + ["--learning-rate", "1e-30", "--max-steps", "1"], output: "start",
        data: "tasks.jsonl")
      try train(fixture, options, output: "both", data: "tasks.jsonl")
      let losses = try evaluation(fixture, "both")
      #expect(losses[11] < losses[0])
      let start = try matrices("start")
      let both = try matrices("both")
      for task in 0..<2 { #expect(!both.selected(0, task).isEqual(to: start.selected(0, task))) }
      func outputs(_ task: String) throws -> String {
        let result = try fixture.graft(
          "generate", "--model", "model", "--adapter", "both", "--prompt", "row", "--json",
          "--task-id", task)
        #expect(result.code == 0, "\(result.errors)")
        return result.output
      }
      // Each task continues with what its own matrices say.
      #expect(try outputs("0") != outputs("1"))
      try fixture.expectFailure(
        64, naming: ["--task-id is 2, expected 0 to 1"],
        [
          "generate", "--model", "model", "--adapter", "both", "--prompt", "row", "--task-id", "2",
        ])
      let evaluated = try fixture.graft(
        "evaluate", "--model", "model", "--adapter", "both", "--data", "tasks.jsonl", "--metrics",
        "loss", "--json")
      let loss = try #require(try JSON.parse(Data(evaluated.output.utf8))["loss"]?.doubleValue)
      #expect(abs(loss - losses[11]) < 1e-4)

      try tasks(fixture) { _ in "1" }
      try train(fixture, options, output: "one", data: "tasks.jsonl")
      let one = try matrices("one")
      #expect(one.selected(0, 0).isEqual(to: start.selected(0, 0)))
      #expect(!one.selected(0, 1).isEqual(to: start.selected(0, 1)))

      let training = ["train", "--model", "model", "--output", "none"] + options
      try fixture.expectFailure(
        64, naming: ["example 1 has no task_id", "2 tasks"], training + ["--data", "rows.jsonl"])
      try fixture.expectFailure(
        64, naming: ["--packing"],
        training + ["--data", "tasks.jsonl", "--packing", "--max-length", "64"])
      try tasks(fixture) { "\($0 % 3)" }
      try fixture.expectFailure(
        64, naming: ["task_id is 2, expected below 2"], training + ["--data", "tasks.jsonl"])
    }
  }
}
