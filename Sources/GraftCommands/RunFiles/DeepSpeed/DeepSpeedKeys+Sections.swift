import JSONValues

extension DeepSpeedKeys {
  private static let buckets = "sizes of buckets are chosen here"
  private static let gathering = "what is gathered when, is chosen here"

  static let zero: [FileKey] =
    [
      FileKey("stage", .count, .used),
      FileKey("offload_optimizer", .object, .section(optimizerOffload)),
      FileKey("offload_param", .object, .section(parameterOffload)),
      FileKey("cpu_offload", .flag, .used),
      FileKey("cpu_offload_param", .flag, .used),
      FileKey("cpu_offload_use_pin_memory", .flag, .notNeeded("memory is not pinned")),
      FileKey("contiguous_gradients", .flag, .notNeeded("gradients lie in flat buckets anyway")),
      FileKey("overlap_comm", .flag, .notNeeded("when gradients travel is chosen here")),
      FileKey("reduce_scatter", .flag, .notNeeded("the operation is chosen here")),
      FileKey(
        "use_multi_rank_bucket_allreduce", .flag, .notNeeded("the operation is chosen here")),
      FileKey("allgather_partitions", .flag, .notNeeded("the operation is chosen here")),
      FileKey("reduce_bucket_size", .count, .notNeeded(buckets)),
      FileKey("allgather_bucket_size", .count, .notNeeded(buckets)),
      FileKey("sub_group_size", .count, .notNeeded(buckets)),
      FileKey("round_robin_gradients", .flag, .notNeeded(buckets)),
      FileKey("parameter_alignment", .flag, .notNeeded(buckets)),
      FileKey("compute_grad_norm", .flag, .notNeeded("the length of gradients is always known")),
      FileKey(
        "load_from_fp32_weights", .flag, .notNeeded("what is trained is saved as it is trained")),
      FileKey(
        "elastic_checkpoint", .flag, .notNeeded("any number of processes goes on from a checkpoint")
      ),
      FileKey(
        "ignore_unused_parameters", .flag,
        .only([true], "parameters without a gradient are left alone")),
      FileKey("legacy_stage1", .flag, .only([false], "there is one stage 1")),
      FileKey("zenflow", .object, .off("updates are not made late")),
      FileKey("memory_efficient_linear", .flag, .notNeeded("layers keep only what they need")),
      FileKey("override_module_apply", .flag, .notNeeded("there is no Python")),
      FileKey("pipeline_loading_checkpoint", .flag, .only([false], "there are no stages")),
      FileKey("log_trace_cache_warnings", .flag, .notNeeded("there is no trace to go stale")),
      FileKey("enable_sanity_checks", .flag, .notNeeded("operations are always compared")),
      FileKey(
        "save_muon_momentum_buffer_in_memory", .flag, .only([false], "there is no Muon here")),
      FileKey("leaf_module", .object, .notNeeded("there are no hooks on modules")),
      FileKey(
        "stage3_gather_16bit_weights_on_model_save", .flag,
        .notNeeded("what is trained is always saved whole")),
      FileKey(
        "stage3_gather_fp16_weights_on_model_save", .flag,
        .notNeeded("what is trained is always saved whole")),
      FileKey("zero_hpz_partition_size", .count, .only([0, 1], "there is one group of ranks")),
      FileKey(
        "zero_quantized_weights", .flag, .only([false], "weights travel as they are kept")),
      FileKey(
        "zero_quantized_nontrainable_weights", .flag,
        .only([false], "--quantize keeps a base in 8 or 4 bits")),
      FileKey("zero_quantized_gradients", .flag, .only([false], "gradients travel in float32")),
      FileKey("mics_shard_size", .number, .only([-1], "there is one group of ranks")),
      FileKey(
        "mics_hierarchical_params_gather", .flag, .only([false], "there is one group of ranks")),
      FileKey("zeropp_loco_param", .object, .off("gradients travel in float32")),
    ]
    + [
      ("max_live_parameters", FileKey.Kind.count), ("max_reuse_distance", .count),
      ("prefetch_bucket_size", .count), ("param_persistence_threshold", .count),
      ("model_persistence_threshold", .count), ("module_granularity_threshold", .count),
      ("use_all_reduce_for_fetch_params", .flag), ("allgather_sequential", .flag),
    ].map { FileKey("stage3_" + $0.0, $0.1, .notNeeded(gathering)) }

  private static let swapping = "states in a file are mapped into memory"

  private static let optimizerOffload: [FileKey] = [
    FileKey("device", .text, .used),
    FileKey("nvme_path", .text, .used),
    FileKey("pin_memory", .flag, .notNeeded("memory is not pinned")),
    FileKey("buffer_count", .count, .notNeeded(swapping)),
    FileKey("pipeline_read", .flag, .notNeeded(swapping)),
    FileKey("pipeline_write", .flag, .notNeeded(swapping)),
    FileKey("fast_init", .flag, .notNeeded(swapping)),
    FileKey("ratio", .number, .only([1], "the whole state lies in one place")),
    FileKey("super_offload", .flag, .only([false], "the whole state lies in one place")),
    FileKey("cpuadam_cores_perc", .number, .notNeeded("--threads says how many")),
  ]

  private static let parameterOffload: [FileKey] = [
    FileKey("device", .text, .used),
    FileKey("nvme_path", .text, .used),
    FileKey("pin_memory", .flag, .notNeeded("memory is not pinned")),
    FileKey("buffer_count", .count, .notNeeded(swapping)),
    FileKey("buffer_size", .count, .notNeeded(swapping)),
    FileKey("max_in_cpu", .count, .notNeeded(swapping)),
  ]

  static let optimizer: [FileKey] = [
    FileKey("type", .text, .used),
    FileKey("params", .object, .used),
    FileKey("legacy_fusion", .flag, .notNeeded("there is one implementation of each rule")),
  ]

  static let scheduler: [FileKey] = [
    FileKey("type", .text, .used), FileKey("params", .object, .used),
  ]

  static let float16: [FileKey] = [
    FileKey("enabled", .flag, .used),
    FileKey("loss_scale", .number, .used),
    FileKey("initial_scale_power", .count, .used),
    FileKey("loss_scale_window", .count, .used),
    FileKey("hysteresis", .count, .used),
    FileKey("consecutive_hysteresis", .flag, .used),
    FileKey("min_loss_scale", .number, .used),
    FileKey("auto_cast", .flag, .notNeeded("inputs are token ids")),
    FileKey(
      "fp16_master_weights_and_grads", .flag, .only([false], "what is trained stays in float32")),
  ]

  static let bfloat16: [FileKey] = [
    FileKey("enabled", .flag, .used),
    FileKey("immediate_grad_update", .flag, .notNeeded("gradients are added up at once")),
    FileKey(
      "check_grad_overflow", .flag,
      .only([true], "gradients that are not finite always stop a run")),
    FileKey("bf16_master_weights_and_grads", .flag, .used),
    FileKey("bf16_optimizer_states", .flag, .used),
  ]

  static let autocast: [FileKey] = [
    FileKey(
      "enabled", .flag, .only([false], "--precision keeps a base in another type instead")),
    FileKey("dtype", .text, .notNeeded("torch_autocast is off")),
    FileKey("lower_precision_safe_modules", .list, .notNeeded("torch_autocast is off")),
  ]

  private static let recomputing =
    "--activation-checkpointing says whether blocks are computed again, one by one"

  static let activations: [FileKey] = [
    FileKey("partition_activations", .flag, .notNeeded("layers are not cut over processes")),
    FileKey("number_checkpoints", .count, .notNeeded(recomputing)),
    FileKey("contiguous_memory_optimization", .flag, .notNeeded(recomputing)),
    FileKey("synchronize_checkpoint_boundary", .flag, .notNeeded(recomputing)),
    FileKey("profile", .flag, .notNeeded("--profile shows where time goes")),
    FileKey("cpu_checkpointing", .flag, .used),
  ]

  static let types: [FileKey] = [
    FileKey("grad_accum_dtype", .text, .only(["fp32"], "gradients are added up in float32")),
    FileKey("param_dtype", .text, .only([], "--precision says the base's type")),
    FileKey("buffer_dtype", .text, .only([], "--precision says the base's type")),
    FileKey(
      "keep_in_fp32_modules", .anything, .only([], "what stays in float32 is the model's own")),
  ]

  static let checkpoint: [FileKey] = [
    FileKey("tag_validation", .text, .notNeeded("rank 0 alone names a checkpoint")),
    FileKey(
      "load_universal", .flag,
      .only([false], "any number of processes goes on from Graft's own checkpoints")),
    FileKey(
      "use_node_local_storage", .flag, .only([false], "all processes see the run's directory")),
    FileKey("parallel_write", .object, .notNeeded("rank 0 writes")),
    FileKey("type", .text, .notNeeded("checkpoints are Graft's own")),
    FileKey("writer", .object, .notNeeded("checkpoints are Graft's own")),
  ]

  static let tensorBoard: [FileKey] = [
    FileKey("enabled", .flag, .used),
    FileKey("output_path", .text, .notNeeded("curves lie in --output")),
    FileKey("job_name", .text, .notNeeded("curves lie in --output")),
  ]
}
