import JSONValues

extension FileResolution {
  /// `fp16`, `bf16`: the type of the base.
  mutating func resolvePrecision() {
    if value("bf16") != nil, value("bfloat16") != nil {
      refuse("bf16 and bfloat16 are two spellings of one section")
      return
    }
    let brain = value("bfloat16") == nil ? "bf16" : "bfloat16"
    let own = current("precision") ?? "float32"
    func isOn(_ section: String, _ type: String) -> Bool? {
      guard let enabled = value(section + ".enabled") else { return has(section) ? false : nil }
      return enabled.isAuto ? own == type : enabled.boolValue
    }
    let (half, brainFloat) = (isOn("fp16", "float16"), isOn(brain, "bfloat16"))
    if half == true, brainFloat == true {
      refuse("fp16 and \(brain) cannot both be enabled")
      return
    }
    let isAuto = [value("fp16.enabled"), value(brain + ".enabled")].contains { $0?.isAuto ?? false }
    if half == true {
      decide("float16", "fp16.enabled")
    } else if brainFloat == true {
      decide("bfloat16", brain + ".enabled")
    } else if half == nil && brainFloat == nil || isAuto {
      keep("precision", half == nil ? brain + ".enabled" : "fp16.enabled")
    } else if (half == nil && own == "float16") || (brainFloat == nil && own == "bfloat16") {
      // The section that would say so is not there.
      keep("precision", half == nil ? "fp16.enabled" : brain + ".enabled")
    } else {
      set("precision", to: "float32", half == nil ? brain + ".enabled" : "fp16.enabled")
    }
    for key in ["fp16.enabled", brain + ".enabled"]
    where value(key) != nil && !lines.contains(where: { $0.key == key }) {
      note(key, value(key), "see --precision")
    }
    resolveMasters(brain, isOn: brainFloat == true)
    resolveLossScale(isOn: half == true)
  }

  private mutating func decide(_ type: String, _ key: String) {
    if value(key)?.isAuto == true {
      keep("precision", key)
    } else {
      set("precision", to: type, key, note: "adapters stay in float32")
    }
  }

  private mutating func resolveMasters(_ section: String, isOn: Bool) {
    let keys = ["bf16_master_weights_and_grads", "bf16_optimizer_states"].map { "\(section).\($0)" }
    let flags = keys.map { value($0)?.boolValue == true }
    let isWhole = current("method")?.lowercased() == "full"
    for (key, flag) in zip(keys, flags) where value(key) != nil {
      if flag, !isWhole {
        refuse("\(key) = true is not supported: adapters and their states stay in float32")
      } else {
        note(key, value(key), "as it is here")
      }
    }
    if isOn, isWhole, flags.contains(false) {
      refuse(
        "\(section).enabled with --method full keeps no weights in float32 beside those in bfloat16, "
          + "as DeepSpeed does; say so by bf16_master_weights_and_grads and bf16_optimizer_states, or "
          + "train in float32")
    }
  }

  private mutating func resolveLossScale(isOn: Bool) {
    let names = [
      "loss_scale", "initial_scale_power", "loss_scale_window", "hysteresis",
      "consecutive_hysteresis", "min_loss_scale",
    ]
    guard isOn else {
      for name in names where value("fp16.\(name)") != nil {
        note("fp16.\(name)", value("fp16.\(name)"), "not needed here: fp16 is off")
      }
      return
    }
    if current("method")?.lowercased() == "full" {
      refuse(
        "fp16.enabled with --method full is not supported: weights in float16 lose small steps")
    }
    let scale = value("fp16.loss_scale")?.doubleValue ?? 0
    guard scale == 0 else {
      set(
        "loss-scale", to: scale == scale.rounded() ? "\(Int(scale))" : "\(scale)", "fp16.loss_scale"
      )
      for name in names.dropFirst() where value("fp16.\(name)") != nil {
        note("fp16.\(name)", value("fp16.\(name)"), "not needed here: loss_scale is not dynamic")
      }
      return
    }
    var fields = JSONObject()
    for name in names.dropFirst() {
      guard let found = value("fp16.\(name)"), !found.isAuto else { continue }
      fields[name] = found
      note("fp16.\(name)", found, "see --loss-scale")
    }
    let text =
      fields.count == 0 ? "dynamic" : JSON.object(fields).serialized(escapeNonASCII: false)
    derive("loss-scale", text, "fp16.loss_scale", "dynamic")
  }
}
