import CommandLineParsing
import JSONValues
import Optimizers

extension FileResolution {
  mutating func resolveSchedule() {
    guard has("scheduler") else {
      note("scheduler", nil, "--schedule \(current("schedule") ?? "linear") and its options")
      return
    }
    guard let type = value("scheduler.type")?.stringValue else {
      refuse("scheduler.type is missing")
      return
    }
    guard DeepSpeedSchedule.names.contains(type) else {
      let near = nearestName(type, among: DeepSpeedSchedule.names).map { "; did you mean \($0)?" }
      refuse(
        "scheduler.type = \(type) is not known\(near ?? ""); known: "
          + DeepSpeedSchedule.names.joined(separator: ", "))
      return
    }
    var fields = value("scheduler.params")?.objectValue ?? JSONObject()
    if ["WarmupDecayLR", "WarmupCosineLR"].contains(type), fields["total_num_steps"] == nil {
      refuse("scheduler.params.total_num_steps is missing; \"auto\" stands for the run's updates")
    }
    for (name, value) in fields where value.isAuto {
      guard let meaning = ScheduleFields.autoMeaning(name) else {
        refuse("scheduler.params.\(name) = auto is not known: expected a value")
        continue
      }
      note("scheduler.params.\(name)", value, meaning)
    }
    if fields["warmup_min_lr"]?.isAuto == true { fields["warmup_min_lr"] = .integer(0) }
    checkOptions(fields)
    checkMomentum(&fields)
    do {
      _ = try ScheduleFields.schedule(type, fields)
    } catch {
      refuse("scheduler.params: \(error)")
      return
    }
    set("schedule", to: type, "scheduler.type")
    set(
      "schedule-fields", to: JSON.object(fields).serialized(escapeNonASCII: false),
      "scheduler.params")
  }

  /// Options that say something else than the schedule's fields.
  private mutating func checkOptions(_ fields: JSONObject) {
    for (name, option) in [
      ("warmup_max_lr", "learning-rate"), ("warmup_num_steps", "warmup-steps"),
      ("total_num_steps", "max-steps"),
    ] {
      guard let number = fields[name]?.doubleValue, isStated(option),
        let own = current(option).flatMap({ Double($0) }), own != number
      else { continue }
      contradict(
        "--\(option) \(current(option) ?? "") contradicts scheduler.params.\(name) = "
          + "\(fields[name]?.written ?? "") of \(source)")
    }
  }

  /// DeepSpeed moves the betas of optimisers that have some, unless it is told not to.
  private mutating func checkMomentum(_ fields: inout JSONObject) {
    guard value("scheduler.type")?.stringValue == "OneCycle" else { return }
    let rule =
      (value("optimizer.type")?.stringValue).map { $0.lowercased() }
      ?? (OptimizerKind(current("optimizer") ?? "")?.rule.rawValue ?? "adamw")
    let hasBetas = !["sgd", "rmsprop", "adagrad"].contains(rule)
    if fields["cycle_momentum"]?.boolValue ?? true {
      guard !hasBetas else {
        refuse(
          "scheduler.params.cycle_momentum = true, which is OneCycle's default, is not supported: "
            + "betas stay what they are; set it to false")
        return
      }
      note(
        "scheduler.params.cycle_momentum", fields["cycle_momentum"], "off: \(rule) has no betas")
    }
    for name in ["cycle_momentum", "cycle_min_mom", "cycle_max_mom", "decay_mom_rate"]
    where fields[name] != nil {
      if name != "cycle_momentum" {
        note("scheduler.params.\(name)", fields[name], "not needed here: betas stay what they are")
      }
      fields[name] = nil
    }
  }
}
