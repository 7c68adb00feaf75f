import Foundation
import JSONValues
import TestSupport
import Testing

/// `graft train --deepspeed`.
@Suite struct DeepSpeedFileTests {
  /// A file as people copy it for transformers' Trainer, with a comment.
  private static let usual = #"""
    {
      // stage 2, everything else left to the options
      "fp16": {"enabled": "auto", "loss_scale": 0, "loss_scale_window": 1000, "initial_scale_power": 16,
               "hysteresis": 2, "min_loss_scale": 1},
      "bf16": {"enabled": "auto"},
      "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto", "eps": "auto",
                                                "weight_decay": "auto"}},
      "scheduler": {"type": "WarmupLR", "params": {"warmup_min_lr": "auto", "warmup_max_lr": "auto",
                                                   "warmup_num_steps": "auto"}},
      "zero_optimization": {
        "stage": 2, "offload_optimizer": {"device": "cpu", "pin_memory": true},
        "allgather_partitions": true, "allgather_bucket_size": 2e8, "overlap_comm": true,
        "reduce_scatter": true, "reduce_bucket_size": "auto", "contiguous_gradients": true
      },
      "gradient_accumulation_steps": "auto", "gradient_clipping": "auto",
      "steps_per_print": 2000, "train_batch_size": "auto",
      "train_micro_batch_size_per_gpu": "auto", "wall_clock_breakdown": false,
    }
    """#

  private func recipe(
    _ fixture: CommandFixture, _ more: [String] = [], processes: Int = 1
  ) throws -> (recipe: JSON, errors: String) {
    let variables =
      processes == 1
      ? [:]
      : [
        "RANK": "0", "WORLD_SIZE": "\(processes)", "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "\(processes)", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29555",
      ]
    let result = try GraftProcess.run(
      ["train", "--deepspeed", "ds.json", "--print-recipe"] + more, directory: fixture.directory,
      variables: variables)
    #expect(result.code == 0, "\(result.errors)")
    return (try JSON.parse(Data(result.output.utf8)), result.errors)
  }

  @Test func `auto is what the options say`() throws {
    try CommandFixture.with { fixture in
      try fixture.write("ds.json", Self.usual)
      let (plain, _) = try recipe(fixture, ["--device", "cpu"])
      let expected = [
        "batch-size": "4", "gradient-accumulation": "1", "learning-rate": "0.0002",
        "max-gradient-norm": "1.0", "zero": "2", "optimizer": "adamw", "precision": "float32",
        "schedule": "WarmupLR",
      ]
      for (name, value) in expected { #expect(plain[name]?.stringValue == value, "\(name)") }
      let (given, errors) = try recipe(
        fixture,
        [
          "--device", "cpu", "--batch-size", "2", "--gradient-accumulation", "6",
          "--learning-rate", "1e-3", "--weight-decay", "0.1", "--precision", "bfloat16",
        ], processes: 3)
      for (name, value) in [
        "batch-size": "2", "gradient-accumulation": "6", "learning-rate": "1e-3",
        "weight-decay": "0.1", "precision": "bfloat16",
      ] { #expect(given[name]?.stringValue == value, "\(name)") }
      #expect(errors.contains("12 rows of an update: 2 x 2 x 3"), "\(errors)")
      // The file itself is no option of the recipe: what it said is.
      #expect(plain["deepspeed"] == nil)
    }
  }

  @Test func `every key is shown with what becomes of it`() throws {
    try CommandFixture.with { fixture in
      try fixture.write("ds.json", Self.usual)
      let (_, errors) = try recipe(fixture, ["--device", "cpu"])
      let text = Self.usual.split(separator: "\n").filter { !$0.contains("//") }
        .joined(separator: "\n")
      let file = try JSON.parse(text.replacing(",\n}", with: "\n}"))
      var count = 0
      func look(_ value: JSON, _ path: String) {
        if let object = value.objectValue, path != "scheduler.params", !path.hasSuffix("betas") {
          for (key, inner) in object { look(inner, path.isEmpty ? key : path + "." + key) }
        } else {
          count += 1
          #expect(errors.contains("\n  \(path) "), "\(path) is not in: \(errors)")
        }
      }
      look(file, "")
      #expect(count > 25)
    }
  }

  @Test(arguments: [
    (#"{"train_batch_size": 8, "train_micro_batch_size_per_gpu": 2}"#, 2, "2", "4"),
    (#"{"train_batch_size": 8, "gradient_accumulation_steps": 2}"#, 2, "2", "4"),
    (#"{"train_micro_batch_size_per_gpu": 3, "gradient_accumulation_steps": 2}"#, 4, "3", "8"),
    (#"{"train_batch_size": 6}"#, 3, "2", "3"),
    (#"{"train_micro_batch_size_per_gpu": 5}"#, 2, "5", "2"),
  ])
  func `two of three numbers say the third`(
    text: String, processes: Int, rows: String, batches: String
  ) throws {
    try CommandFixture.with { fixture in
      try fixture.write("ds.json", text)
      let (recipe, _) = try recipe(fixture, processes: processes)
      #expect(recipe["batch-size"]?.stringValue == rows)
      #expect(recipe["gradient-accumulation"]?.stringValue == batches)
    }
  }

  @Test func `what cannot be is named`() throws {
    try CommandFixture.with { fixture in
      for (text, mentions) in [
        ("[1]", ["object"]), ("{\"stage\": 2,, }", ["ds.json"]),
        (#"{"zero_optimisation": {"stage": 2}}"#, ["zero_optimisation", "zero_optimization?"]),
        (
          #"{"zero_optimization": {"stag": 2}}"#, ["zero_optimization.stag", "did you mean stage?"]
        ),
        (#"{"zero_optimization": {"stage": "two"}}"#, ["zero_optimization.stage", "two"]),
        (#"{"zero_optimization": {"stage": 4}}"#, ["zero_optimization.stage = 4"]),
        (#"{"bf16": {"enabled": 1}}"#, ["bf16.enabled is 1", "true or false"]),
        (
          #"{"bf16": {"enabled": true}, "fp16": {"enabled": true, "loss_scale": 1}}"#,
          ["cannot both be enabled"]
        ),
        (
          #"{"train_batch_size": 9, "train_micro_batch_size_per_gpu": 2}"#,
          ["train_batch_size = 9", "no multiple of 2"]
        ),
        (
          #"{"train_batch_size": 8, "train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 2}"#,
          ["train_batch_size = 8", "2 x 2 x 1 = 4"]
        ),
        (#"{"train_batch_size": 0}"#, ["train_batch_size is 0"]),
        (
          #"{"train_batch_size": 4, "train_batch_size": 4}"#, ["train_batch_size", "occurs twice"]
        ),
        (
          #"{"optimizer": {"type": "OneBitAdam"}}"#,
          ["optimizer.type = OneBitAdam", "not supported"]
        ),
        (#"{"optimizer": {"type": "Lamb"}}"#, ["optimizer.type = Lamb", "not supported"]),
        (#"{"optimizer": {"type": "AdamV"}}"#, ["AdamV", "did you mean Adam"]),
        (
          #"{"optimizer": {"type": "Adam", "params": {"beta": [0.9, 0.99]}}}"#,
          ["optimizer.params.beta", "did you mean betas?"]
        ),
        (
          #"{"optimizer": {"type": "Adam", "params": {"adam_w_mode": false, "weight_decay": 0.1}}}"#,
          ["adam_w_mode = false"]
        ),
        (
          #"{"optimizer": {"type": "Adam", "params": {"max_grad_norm": 1}}}"#,
          ["max_grad_norm", "gradient_clipping"]
        ),
        (#"{"scheduler": {"type": "Cosine"}}"#, ["scheduler.type = Cosine", "WarmupCosineLR"]),
        (
          #"{"scheduler": {"type": "WarmupDecayLR", "params": {}}}"#,
          ["total_num_steps", "auto"]
        ),
        (
          #"{"scheduler": {"type": "WarmupLR", "params": {"warmup_type": "cubic"}}}"#,
          ["warmup_type is cubic"]
        ),
        (
          #"{"scheduler": {"type": "OneCycle", "params": {"cycle_min_lr": 1e-5, "cycle_max_lr": 1e-3}}}"#,
          ["cycle_momentum"]
        ),
        (#"{"gradient_allreduce_op": "sum"}"#, ["gradient_allreduce_op = sum"]),
        (#"{"elasticity": {"enabled": true}}"#, ["elasticity", "not supported"]),
        (#"{"zero_optimization": {"zero_quantized_weights": true}}"#, ["zero_quantized_weights"]),
        (#"{"dataloader_drop_last": true}"#, ["dataloader_drop_last"]),
      ] {
        try fixture.write("ds.json", text)
        try fixture.expectFailure(
          65, naming: ["ds.json"] + mentions,
          ["train", "--deepspeed", "ds.json", "--print-recipe", "--device", "cpu"])
      }
      try fixture.expectFailure(
        66, naming: ["none.json"], ["train", "--deepspeed", "none.json", "--print-recipe"])
    }
  }

  @Test func `options that contradict the file are named with its keys`() throws {
    try CommandFixture.with { fixture in
      try fixture.write(
        "ds.json",
        #"""
        {"train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 3, "gradient_clipping": 0.5,
         "zero_optimization": {"stage": 1}, "bf16": {"enabled": true},
         "optimizer": {"type": "AdamW", "params": {"lr": 3e-4, "betas": [0.9, 0.95]}}}
        """#)
      for (option, value, mentions) in [
        ("--batch-size", "4", ["--batch-size 4 contradicts", "where it is 2"]),
        (
          "--gradient-accumulation", "2",
          ["--gradient-accumulation 2 contradicts", "where it is 3"]
        ),
        ("--max-gradient-norm", "1", ["max-gradient-norm 1", "gradient_clipping = 0.5"]),
        ("--zero", "2", ["--zero 2", "zero_optimization.stage = 1"]),
        ("--precision", "float32", ["--precision float32", "bf16.enabled = true"]),
        ("--learning-rate", "1e-3", ["learning-rate 1e-3", "optimizer.params.lr"]),
        ("--beta2", "0.999", ["beta2", "optimizer.params.betas"]),
        ("--optimizer", "lion", ["--optimizer lion", "optimizer.type = AdamW"]),
      ] {
        let words = ["train", "--deepspeed", "ds.json", "--print-recipe"]
        try fixture.expectFailure(64, naming: mentions + ["ds.json"], words + [option, value])
        // The same by --set, and what is equal is no contradiction.
        try fixture.expectFailure(
          64, naming: mentions, words + ["--set", "\(option.dropFirst(2))=\(value)"])
      }
      let (recipe, _) = try recipe(
        fixture, ["--batch-size", "2", "--learning-rate", "0.0003", "--optimizer", "adamw-8bit"])
      #expect(recipe["optimizer"]?.stringValue == "adamw-8bit")
      #expect(recipe["beta2"]?.stringValue == "0.95")
    }
  }

  @Test func `a run by a file is the run by its options`() throws {
    try CommandFixture.with { fixture in
      try fixture.write(
        "ds.json",
        #"""
        {"train_batch_size": 8, "train_micro_batch_size_per_gpu": 2, "gradient_clipping": 0.5,
         "zero_optimization": {"stage": 2, "overlap_comm": true},
         "optimizer": {"type": "AdamW", "params": {"lr": 1e-2, "weight_decay": 0.01}},
         "scheduler": {"type": "WarmupDecayLR", "params": {"total_num_steps": "auto",
           "warmup_num_steps": 3, "warmup_max_lr": 1e-2, "warmup_type": "linear"}}}
        """#)
      let common = [
        "train", "--model", "model", "--data", "rows.jsonl", "--max-steps", "6", "--log-every", "1",
        "--rank", "4", "--save-every", "3", "--deterministic", "2",
      ]
      let launch = ["launch", "--processes", "2", "--"]
      let file = try GraftProcess.run(
        launch + common + ["--output", "file", "--deepspeed", "ds.json"],
        directory: fixture.directory)
      #expect(file.code == 0, "\(file.errors)")
      let options = try GraftProcess.run(
        launch + common + [
          "--output", "options", "--batch-size", "2", "--gradient-accumulation", "4",
          "--max-gradient-norm", "0.5", "--zero", "2", "--learning-rate", "1e-2",
          "--weight-decay", "0.01", "--schedule", "WarmupDecayLR", "--schedule-fields",
          #"{"warmup_num_steps": 3, "warmup_max_lr": 0.01, "warmup_type": "linear"}"#,
        ], directory: fixture.directory)
      #expect(options.code == 0, "\(options.errors)")
      let rates = try fixture.metrics("file").compactMap { $0["learning_rate"]?.doubleValue }
      #expect(rates.count == 6 && rates[0] == 0 && rates[4] == 1e-2 && rates[5] < 1e-2)
      #expect(try fixture.losses("file") == fixture.losses("options"))
      // It goes on without the file: the recipe says everything.
      try FileManager.default.removeItem(atPath: fixture.path("file/checkpoints/step-00000006"))
      try FileManager.default.removeItem(atPath: fixture.path("ds.json"))
      let losses = try fixture.losses("file")
      let again = try GraftProcess.run(
        launch + ["train", "--resume", "file"], directory: fixture.directory)
      #expect(again.code == 0 && again.errors.contains("after step 3"), "\(again.errors)")
      #expect(try fixture.losses("file") == losses)
    }
  }

  @Test func `states in a file`() throws {
    try CommandFixture.with { fixture in
      try fixture.write(
        "ds.json",
        #"""
        {"optimizer": {"type": "Lion", "params": {"lr": 1e-4}}, "zero_optimization": {"stage": 1,
         "offload_optimizer": {"device": "nvme", "nvme_path": "/fast", "buffer_count": 4}}}
        """#)
      let (found, errors) = try recipe(fixture, ["--device", "cpu"])
      #expect(found["optimizer"]?.stringValue == "paged-lion")
      #expect(errors.contains("not used: files lie in --output"))
    }
  }

  @Test func `weights in a file`() throws {
    try CommandFixture.with { fixture in
      let key = #""zero_optimization": {"stage": 3, "offload_param": {"device": "#
      try fixture.write("ds.json", "{" + key + #""nvme", "nvme_path": "/fast"}}}"#)
      let (found, errors) = try recipe(fixture, ["--device", "cpu"])
      #expect(found["zero"]?.stringValue == "3")
      #expect(found["base-offload"]?.stringValue == "disk")
      #expect(errors.contains("not used: files lie in --output"))
      try fixture.write("ds.json", "{" + key + #""cpu"}}}"#)
      let (other, notes) = try recipe(fixture, ["--device", "cpu"])
      #expect(other["base-offload"]?.stringValue == "none")
      #expect(notes.contains("not needed here: weights lie in the processor's memory"))
    }
  }

  @Test func `float16 with a scale that is too large at first`() throws {
    try CommandFixture.with { fixture in
      try fixture.write(
        "ds.json",
        #"""
        {"fp16": {"enabled": true, "initial_scale_power": 30, "hysteresis": 1, "loss_scale_window": 50},
         "train_batch_size": 4,
         "scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": 50, "warmup_max_lr": 1e-2,
           "warmup_type": "linear"}}}
        """#)
      let words = [
        "train", "--model", "model", "--data", "rows.jsonl", "--max-steps", "24", "--log-every",
        "1", "--rank", "4", "--save-every", "8", "--keep", "9", "--dropout", "0.1",
        "--learning-rate", "1e-2",
      ]
      let result = try GraftProcess.run(
        words + ["--output", "run", "--deepspeed", "ds.json"], directory: fixture.directory)
      #expect(result.code == 0, "\(result.errors)")
      let rows = try fixture.metrics()
      let skipped = rows.map { $0["gradient_norm"]?.doubleValue == nil }
      #expect(skipped[0] && !skipped[23], "\(skipped)")
      // The schedule waits for updates that were left out.
      for (index, row) in rows.enumerated() {
        let made = skipped[..<index].filter { !$0 }.count
        let rate = Double(max(0, made - 1)) / 50 * 1e-2
        #expect(row["learning_rate"]?.doubleValue == rate, "update \(index + 1)")
      }
      let state = try JSON.parse(fixture.bytes("run/checkpoints/step-00000024/state.json"))
      let factor = try #require(state["loss_scale"]?["factor"]?.doubleValue)
      #expect(factor == exp2(30 - Double(skipped.filter { $0 }.count)))
      // A run that goes on does so with its scale.
      let losses = try fixture.losses()
      for step in ["16", "24"] {
        try FileManager.default.removeItem(
          atPath: fixture.path("run/checkpoints/step-000000" + step))
      }
      let again = try fixture.graft("train", "--resume", "run")
      #expect(again.code == 0 && again.errors.contains("after step 8"), "\(again.errors)")
      #expect(try fixture.losses() == losses)
    }
  }
}
