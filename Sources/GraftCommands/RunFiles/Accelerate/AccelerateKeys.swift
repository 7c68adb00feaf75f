import JSONValues

/// Every key of Accelerate 1.15's files for a machine of one's own.
enum AccelerateKeys {
  /// What a DeepSpeed file says itself.
  static let deepSpeedFields = [
    "gradient_accumulation_steps", "gradient_clipping", "zero_stage", "offload_optimizer_device",
    "offload_param_device", "offload_optimizer_nvme_path", "offload_param_nvme_path",
    "zero3_save_16bit_model",
  ]

  private static let store = "the processes meet at the store of graft launch"
  private static let tpu = "there are no TPUs here"

  static let all: [FileKey] = [
    FileKey(
      "compute_environment", .text, .only(["LOCAL_MACHINE"], "processes run on machines at hand")),
    FileKey("distributed_type", .anything, .used),
    FileKey("num_processes", .number, .used),
    FileKey("num_machines", .count, .used),
    FileKey("machine_rank", .count, .used),
    FileKey("main_process_ip", .text, .used),
    FileKey("main_process_port", .count, .used),
    FileKey("mixed_precision", .anything, .used),
    FileKey("use_cpu", .flag, .used),
    FileKey("fp16", .flag, .only([false], "mixed_precision says it")),
    FileKey("deepspeed_config", .object, .section(deepSpeed)),
    FileKey("fsdp_config", .object, .section(fsdp)),
    FileKey("dynamo_config", .object, .section(dynamo)),
    FileKey("dynamo_backend", .anything, .only(["NO", "no", false], "nothing is compiled")),
    FileKey("debug", .flag, .notNeeded("operations are always compared")),
    FileKey("gpu_ids", .anything, .only(["all"], "--device says where")),
    FileKey("rdzv_backend", .text, .notNeeded(store)),
    FileKey("same_network", .flag, .notNeeded(store)),
    FileKey("main_training_function", .text, .notNeeded("there is no Python")),
    FileKey("enable_cpu_affinity", .flag, .only([false], "threads are not bound to cores")),
    FileKey("fp8_config", .object, .off("there is no type of 8 bits to compute in")),
    FileKey("megatron_lm_config", .object, .off("layers are not cut over processes")),
    FileKey("parallelism_config", .object, .off("layers are not cut over processes")),
    FileKey(
      "mpirun_config", .object,
      .off("mpirun itself can start graft train, which reads its variables")),
    FileKey("downcast_bf16", .anything, .notNeeded(tpu)),
    FileKey("tpu_name", .anything, .off(tpu)), FileKey("tpu_zone", .anything, .off(tpu)),
    FileKey("tpu_use_cluster", .flag, .off(tpu)), FileKey("tpu_use_sudo", .flag, .off(tpu)),
    FileKey("tpu_env", .anything, .only([[]], tpu)), FileKey("tpu_vm", .anything, .only([[]], tpu)),
    FileKey("command_file", .anything, .off(tpu)), FileKey("commands", .anything, .off(tpu)),
  ]

  private static let nodes = "graft launch is started on each machine"

  private static let deepSpeed: [FileKey] =
    deepSpeedFields.map { FileKey($0, .anything, .used) } + [
      FileKey("deepspeed_config_file", .text, .used),
      FileKey("zero3_init_flag", .flag, .notNeeded("a base is never made twice")),
      FileKey("deepspeed_multinode_launcher", .text, .only(["standard"], nodes)),
      FileKey("deepspeed_hostfile", .anything, .off(nodes)),
      FileKey("deepspeed_inclusion_filter", .anything, .off(nodes)),
      FileKey("deepspeed_exclusion_filter", .anything, .off(nodes)),
      FileKey("deepspeed_moe_layer_cls_names", .anything, .off("there are no expert groups")),
    ]

  private static let gathering = "what is gathered when, is chosen here"

  private static let fsdp: [FileKey] = [
    FileKey("fsdp_version", .count, .used),
    FileKey("fsdp_sharding_strategy", .anything, .used),
    FileKey("fsdp_reshard_after_forward", .anything, .used),
    FileKey("fsdp_activation_checkpointing", .flag, .used),
    FileKey("fsdp_offload_params", .flag, .only([false], "weights stay where they are used")),
    FileKey(
      "fsdp_activation_checkpointing_offload", .flag,
      .only([false], "what is kept stays where it is")),
    FileKey("fsdp_auto_wrap_policy", .text, .notNeeded(gathering)),
    FileKey("fsdp_transformer_layer_cls_to_wrap", .text, .notNeeded(gathering)),
    FileKey("fsdp_min_num_params", .number, .notNeeded(gathering)),
    FileKey("fsdp_backward_prefetch", .text, .notNeeded(gathering)),
    FileKey("fsdp_backward_prefetch_policy", .text, .notNeeded(gathering)),
    FileKey("fsdp_forward_prefetch", .flag, .notNeeded(gathering)),
    FileKey("fsdp_state_dict_type", .text, .notNeeded("checkpoints are Graft's own")),
    FileKey("fsdp_use_orig_params", .flag, .notNeeded("frozen and trained weights may be mixed")),
    FileKey(
      "fsdp_cpu_ram_efficient_loading", .flag, .notNeeded("weights are mapped from their files")),
    FileKey("fsdp_sync_module_states", .flag, .notNeeded("rank 0's trained numbers are shared")),
    FileKey("fsdp_ignored_modules", .anything, .off("all that is trained is shared out alike")),
  ]

  private static let dynamo: [FileKey] = [
    FileKey("dynamo_backend", .anything, .only(["NO", "no", false], "nothing is compiled")),
    FileKey("dynamo_mode", .text, .notNeeded("nothing is compiled")),
    FileKey("dynamo_use_dynamic", .flag, .notNeeded("nothing is compiled")),
    FileKey("dynamo_use_fullgraph", .flag, .notNeeded("nothing is compiled")),
    FileKey("dynamo_use_regional_compilation", .flag, .notNeeded("nothing is compiled")),
  ]
}
