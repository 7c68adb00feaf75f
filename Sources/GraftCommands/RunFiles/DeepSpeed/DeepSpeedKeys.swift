import JSONValues

/// Every key that DeepSpeed 0.19.8 reads, and those that it has given up.
enum DeepSpeedKeys {
  static let all: [FileKey] =
    [
      FileKey("train_batch_size", .count, .used),
      FileKey("train_micro_batch_size_per_gpu", .count, .used),
      FileKey("gradient_accumulation_steps", .count, .used),
      FileKey("gradient_clipping", .number, .used),
      FileKey("zero_optimization", .anything, .section(zero)),
      FileKey("optimizer", .object, .section(optimizer)),
      FileKey("scheduler", .object, .section(scheduler)),
      FileKey("fp16", .object, .section(float16)),
      FileKey("bf16", .object, .section(bfloat16)),
      FileKey("bfloat16", .object, .section(bfloat16)),
      FileKey("torch_autocast", .object, .section(autocast)),
      FileKey("activation_checkpointing", .object, .section(activations)),
      FileKey("data_types", .object, .section(types)),
      FileKey("checkpoint", .object, .section(checkpoint)),
      FileKey("tensorboard", .object, .section(tensorBoard)),
    ] + exchange + reports + others + givenUp

  /// How gradients travel.
  private static let exchange = [
    FileKey("gradient_allreduce_op", .text, .only(["mean"], "gradients are averaged")),
    FileKey(
      "communication_data_type", .text, .only(["fp32"], "gradients travel in float32")),
    FileKey(
      "prescale_gradients", .flag, .notNeeded("gradients are divided by the targets of an update")),
    FileKey(
      "gradient_predivide_factor", .number,
      .notNeeded("gradients are divided by the targets of an update")),
    FileKey(
      "disable_allgather", .flag, .notNeeded("shared-out parameters are always gathered at once")),
    FileKey(
      "seq_parallel_communication_data_type", .text, .notNeeded("rows are not cut over processes")),
    FileKey("sequence_parallel_size", .count, .only([1], "rows are not cut over processes")),
    FileKey(
      "managed_gradient_accumulation", .flag,
      .only([true], "graft train itself says when an update is whole")),
    FileKey(
      "use_data_before_expert_parallelism", .flag, .only([false], "there are no expert groups")),
  ]

  private static let progress = "graft train reports by --log-every and metrics.jsonl"

  /// What is said on the way.
  private static let reports = [
    FileKey("steps_per_print", .number, .notNeeded(progress)),
    FileKey("wall_clock_breakdown", .flag, .notNeeded("--profile shows where time goes")),
    FileKey("memory_breakdown", .flag, .notNeeded("--profile shows where memory goes")),
    FileKey("dump_state", .flag, .notNeeded("--print-recipe shows every option")),
    FileKey("flops_profiler", .object, .notNeeded("--profile shows where time goes")),
    FileKey("comms_logger", .object, .notNeeded(progress)),
    FileKey("timers", .object, .notNeeded("--profile shows where time goes")),
    FileKey("log_level", .text, .notNeeded(progress)),
    FileKey("wandb", .object, .off("curves go to --report-to tensorboard alone")),
    FileKey("csv_monitor", .object, .off("figures go to metrics.jsonl")),
    FileKey("comet", .object, .off("curves go to --report-to tensorboard alone")),
  ]

  private static let others = [
    FileKey("aio", .object, .notNeeded("states in a file are mapped into memory")),
    FileKey("disable_python_gc", .flag, .notNeeded("there is no Python")),
    FileKey("vocabulary_size", .count, .notNeeded("the model says it")),
    FileKey("zero_allow_untested_optimizer", .flag, .notNeeded("every rule can be shared out")),
    FileKey(
      "zero_force_ds_cpu_optimizer", .flag, .notNeeded("there is one implementation of each rule")),
    FileKey(
      "dataloader_drop_last", .flag, .only([false], "the last rows of an epoch are trained on")),
    FileKey("autotuning", .object, .off("graft plan estimates a run")),
    FileKey("data_efficiency", .object, .off("rows are neither sampled nor shortened by rules")),
    FileKey("hybrid_engine", .object, .off("graft train does not generate")),
    FileKey("weight_quantization", .object, .off("--quantize keeps a base in 8 or 4 bits")),
    FileKey("compile", .object, .off("nothing is compiled")),
    FileKey("tensor_parallel", .object, .off("layers are not cut over processes")),
    FileKey("expert_parallel", .object, .off("there are no expert groups")),
    FileKey("pipeline", .object, .off("a model is not cut into stages")),
    FileKey("datastates", .object, .off("checkpoints are Graft's own")),
  ]

  /// What DeepSpeed itself refuses now; old files have it switched off.
  private static let givenUp = [
    "nebula", "compression_training", "amp", "quantize_training", "sparse_gradients", "eigenvalue",
    "sparse_attention", "elasticity", "graph_harvesting", "curriculum_learning",
    "progressive_layer_drop",
  ].map { FileKey($0, .anything, .off("DeepSpeed has given it up, and Graft has no such thing")) }
}
