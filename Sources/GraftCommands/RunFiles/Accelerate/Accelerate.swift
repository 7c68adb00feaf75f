import JSONValues

extension FileResolution {
  /// Resolves an Accelerate file, but for its DeepSpeed configuration.
  ///
  /// - Throws: ``RecipeError`` for keys that are not known or values of the wrong kind.
  mutating func resolveAccelerate(_ accelerate: AccelerateFile) throws {
    try check(AccelerateKeys.all)
    note("distributed_type", value("distributed_type"), accelerate.meaning)
    for key in [
      "num_processes", "num_machines", "machine_rank", "main_process_ip", "main_process_port",
    ] where value(key) != nil {
      note(key, value(key), "graft launch --accelerate-config")
    }
    if let flag = value("use_cpu") {
      if flag.boolValue == true {
        set("device", to: "cpu", "use_cpu")
      } else {
        note("use_cpu", flag, "--device \(current("device") ?? "auto")")
      }
    }
    for (section, kind) in [("deepspeed_config", "DEEPSPEED"), ("fsdp_config", "FSDP")]
    where has(section) && accelerate.kind != kind {
      if value(section)?.objectValue?.count ?? 0 > 0 {
        note(section, "...", "not needed here: distributed_type is \(accelerate.kind)")
      }
    }
    switch accelerate.kind {
    case "DEEPSPEED": checkPrecision()
    case "FSDP":
      resolveMixedPrecision()
      resolveSharding()
    default:
      resolveMixedPrecision()
      keep("zero", "distributed_type")
    }
  }

  /// What `mixed_precision` says, "no" where it is not there.
  private var mixedPrecision: String {
    guard let found = value("mixed_precision"), found.boolValue != false else { return "no" }
    return found.written
  }

  private mutating func checkPrecision() {
    if !["no", "fp16", "bf16"].contains(mixedPrecision) {
      refuse(
        "mixed_precision = \(mixedPrecision) is not supported; supported: no, bf16, and fp16 with "
          + "DeepSpeed")
    }
    note("mixed_precision", value("mixed_precision"), "fp16.enabled and bf16.enabled")
  }

  private mutating func resolveMixedPrecision() {
    switch mixedPrecision {
    case "no":
      if value("mixed_precision") == nil {
        keep("precision", "mixed_precision")
      } else {
        set("precision", to: "float32", "mixed_precision")
      }
    case "bf16":
      set(
        "precision", to: "bfloat16", "mixed_precision",
        note: "the base is kept in it, where Accelerate casts it for each operation")
    case let other:
      refuse("mixed_precision = \(other) is not supported; supported: no, bf16")
    }
  }

  /// FSDP's ways to share out, as stages of ZeRO.
  private mutating func resolveSharding() {
    let version = value("fsdp_config.fsdp_version")?.wholeNumber ?? 1
    let (strategy, again) = (
      "fsdp_config.fsdp_sharding_strategy", "fsdp_config.fsdp_reshard_after_forward"
    )
    let stage: Int
    let key: String
    if version == 2 || value(strategy) == nil {
      key = again
      switch value(again)?.written.lowercased() ?? "true" {
      case "true", "full_shard": stage = 3
      case "false", "shard_grad_op": stage = 2
      case let other:
        refuse("\(again) = \(other) is not supported; supported: true, false")
        return
      }
    } else {
      key = strategy
      switch value(strategy)?.written ?? "" {
      case "FULL_SHARD", "1": stage = 3
      case "SHARD_GRAD_OP", "2": stage = 2
      case "NO_SHARD", "3": stage = 0
      case let other:
        refuse(
          "\(strategy) = \(other) is not supported; supported: FULL_SHARD, SHARD_GRAD_OP, NO_SHARD")
        return
      }
    }
    guard Self.stages.contains(stage) else {
      refuse(
        "\(key) = \(value(key)?.written ?? "true") is not supported: it is --zero \(stage), expected at "
          + "most \(Self.stages.upperBound)")
      return
    }
    set("zero", to: "\(stage)", key)
    note(
      "fsdp_config.fsdp_version", value("fsdp_config.fsdp_version"), "how it is done is chosen here"
    )
    let recompute = "fsdp_config.fsdp_activation_checkpointing"
    if let flag = value(recompute)?.boolValue {
      set("activation-checkpointing", to: "\(flag)", recompute)
    }
  }
}
