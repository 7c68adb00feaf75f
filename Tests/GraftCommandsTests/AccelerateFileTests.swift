import Foundation
import JSONValues
import TestSupport
import Testing

/// `--accelerate-config` of `graft launch` and `graft train`.
@Suite struct AccelerateFileTests {
  /// As `accelerate config` writes it for two processes on one machine.
  private static let sharded = """
    compute_environment: LOCAL_MACHINE
    debug: false
    distributed_type: FSDP
    downcast_bf16: 'no'
    enable_cpu_affinity: false
    fsdp_config:
      fsdp_activation_checkpointing: true
      fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
      fsdp_sharding_strategy: SHARD_GRAD_OP
      fsdp_state_dict_type: SHARDED_STATE_DICT
      fsdp_use_orig_params: true
    machine_rank: 0
    main_training_function: main
    mixed_precision: 'no'
    num_machines: 1
    num_processes: 2
    rdzv_backend: static
    same_network: true
    tpu_env: []
    tpu_use_cluster: false
    tpu_use_sudo: false
    use_cpu: true
    """

  private static let deepSpeed = """
    compute_environment: LOCAL_MACHINE
    deepspeed_config:
      gradient_accumulation_steps: 2
      gradient_clipping: 0.5
      offload_optimizer_device: none
      offload_param_device: none
      zero3_init_flag: false
      zero_stage: 1
    distributed_type: DEEPSPEED
    mixed_precision: no
    num_machines: 1
    num_processes: 2
    use_cpu: true
    """

  @Test func `launch takes processes from the file and hands it on`() throws {
    try CommandFixture.with { fixture in
      for (name, text, options) in [
        ("sharded", Self.sharded, ["zero": "2", "activation-checkpointing": "true"]),
        (
          "deepspeed", Self.deepSpeed,
          ["zero": "1", "gradient-accumulation": "4", "max-gradient-norm": "0.5"]
        ),
      ] {
        try fixture.write(name + ".yaml", text)
        let result = try GraftProcess.run(
          ["launch", "--accelerate-config", name + ".yaml", "--"]
            + [
              "train", "--model", "model", "--data", "rows.jsonl", "--output", name, "--max-steps",
              "2", "--rank", "4", "--batch-size", "2",
            ], directory: fixture.directory)
        #expect(result.code == 0, "\(result.errors)")
        #expect(result.errors.contains("rank 0 of 2"), "\(result.errors)")
        let recipe = try JSON.parse(fixture.bytes(name + "/recipe.json"))
        for (option, value) in options.merging(["device": "cpu"], uniquingKeysWith: { $1 }) {
          #expect(recipe[option]?.stringValue == value, "\(name): \(option)")
        }
        #expect(recipe["accelerate-config"] == nil)
      }
    }
  }

  @Test func `what contradicts the file`() throws {
    try CommandFixture.with { fixture in
      try fixture.write("two.yaml", Self.sharded)
      let train = ["train", "--model", "model", "--data", "rows.jsonl", "--output", "run"]
      try fixture.expectFailure(
        64, naming: ["--processes 3", "num_processes = 2", "two.yaml"],
        ["launch", "--accelerate-config", "two.yaml", "--processes", "3", "--"] + train)
      try fixture.expectFailure(
        64, naming: ["--zero 1", "fsdp_sharding_strategy = SHARD_GRAD_OP"],
        ["launch", "--accelerate-config", "two.yaml", "--"] + train + ["--zero", "1"])
      // One process alone is another run than the file's.
      try fixture.expectFailure(
        64, naming: ["num_processes = 2", "graft launch --accelerate-config"],
        train + ["--accelerate-config", "two.yaml"])
    }
  }

  @Test func `what cannot be is named`() throws {
    try CommandFixture.with { fixture in
      func changed(_ old: String, _ new: String) -> String {
        Self.sharded.replacing("num_processes: 2", with: "num_processes: 1")
          .replacing(old, with: new)
      }
      for (text, mentions) in [
        ("- 1", ["one.yaml"]), ("num_processes: 1", ["distributed_type is missing"]),
        (changed("distributed_type: FSDP", "distributed_type: MEGATRON_LM"), ["MEGATRON_LM"]),
        (changed("distributed_type: FSDP", "distributed_type: MULTI_GPU"), ["MULTI_GPU"]),
        (changed("LOCAL_MACHINE", "AMAZON_SAGEMAKER"), ["AMAZON_SAGEMAKER"]),
        (changed("num_processes: 1", "num_proceses: 1"), ["num_proceses", "did you mean"]),
        (changed("num_processes: 1", "num_processes: some"), ["num_processes is some"]),
        (changed("machine_rank: 0", "machine_rank: 3"), ["machine_rank is 3"]),
        (changed("SHARD_GRAD_OP", "HYBRID_SHARD"), ["HYBRID_SHARD"]),
        (changed("mixed_precision: 'no'", "mixed_precision: fp8"), ["mixed_precision = fp8"]),
        (changed("debug: false", "debug: false\ndebug: true"), ["debug stands there twice"]),
        (changed("debug: false", "dynamo_config: {dynamo_backend: INDUCTOR}"), ["INDUCTOR"]),
        (changed("debug: false", "debug: ["), ["one.yaml, line"]),
        (
          Self.deepSpeed.replacing("num_processes: 2", with: "num_processes: 1").replacing(
            "  zero_stage: 1", with: "  zero_stage: 1\n  deepspeed_config_file: ds.json"),
          ["deepspeed_config.zero_stage", "deepspeed_config_file = ds.json"]
        ),
      ] {
        try fixture.write("one.yaml", text)
        try fixture.expectFailure(
          65, naming: ["one.yaml"] + mentions,
          ["train", "--accelerate-config", "one.yaml", "--print-recipe"])
      }
    }
  }

  @Test func `a DeepSpeed file beside it`() throws {
    try CommandFixture.with { fixture in
      try fixture.write("ds.json", #"{"zero_optimization": {"stage": 2}, "train_batch_size": 4}"#)
      try fixture.write(
        "one.yaml",
        "distributed_type: DEEPSPEED\ndeepspeed_config:\n  deepspeed_config_file: ds.json\n"
          + "num_processes: 1\n")
      let result = try fixture.graft("train", "--accelerate-config", "one.yaml", "--print-recipe")
      #expect(result.code == 0, "\(result.errors)")
      let recipe = try JSON.parse(Data(result.output.utf8))
      #expect(recipe["zero"]?.stringValue == "2" && recipe["batch-size"]?.stringValue == "4")
      try fixture.expectFailure(
        64, naming: ["--deepspeed ds.json", "one.yaml"],
        [
          "train", "--accelerate-config", "one.yaml", "--deepspeed", "ds.json", "--print-recipe",
        ])
    }
  }
}
