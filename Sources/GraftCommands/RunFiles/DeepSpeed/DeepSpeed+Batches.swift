import JSONValues

extension FileResolution {
  /// `train_batch_size` = rows of a micro-batch times micro-batches of a process times processes.
  ///
  /// Graft's `--gradient-accumulation` counts the micro-batches of all processes: an update is the same
  /// whatever their number.
  mutating func resolveBatches() {
    let names = [
      "train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps",
    ]
    let numbers = names.map { value($0)?.wholeNumber }
    for (name, number) in zip(names, numbers) where number == 0 {
      refuse("\(name) is 0, expected at least 1")
      return
    }
    let (total, rows, each) = (numbers[0], numbers[1], numbers[2])
    let ownRows = current("batch-size").flatMap { Int($0) } ?? 1
    let found: (rows: Int, each: Int)?
    switch (total, rows, each) {
    case (_, let rows?, let each?): found = (rows, each)
    case (let total?, let rows?, nil):
      found = divided(total, by: rows * processes).map { (rows, $0) }
    case (let total?, nil, let each?):
      found = divided(total, by: each * processes).map { ($0, each) }
    case (let total?, nil, nil) where isStated("batch-size") && !isStated("gradient-accumulation"):
      found = divided(total, by: ownRows * processes).map { (ownRows, $0) }
    case (let total?, nil, nil):
      found = eachFromOptions().flatMap { each in
        divided(total, by: each * processes).map { ($0, each) }
      }
    case (nil, let rows?, nil): found = eachFromOptions().map { (rows, $0) }
    case (nil, nil, let each?): found = (ownRows, each)
    case (nil, nil, nil): found = eachFromOptions().map { (ownRows, $0) }
    }
    guard let found else { return }
    let product = found.rows * found.each * processes
    if let total, total != product {
      refuse(
        "train_batch_size = \(total) is not train_micro_batch_size_per_gpu x "
          + "gradient_accumulation_steps x processes = \(found.rows) x \(found.each) x \(processes) "
          + "= \(product)")
      return
    }
    note(
      "train_batch_size", value("train_batch_size"),
      "\(product) rows of an update: \(found.rows) x \(found.each) x \(processes)")
    let source = rows == nil && total == nil ? "as the options say" : "rows of a micro-batch"
    derive("batch-size", "\(found.rows)", names[1], source)
    derive(
      "gradient-accumulation", "\(found.each * processes)", names[2],
      "micro-batches of an update, \(found.each) for each process")
  }

  private mutating func divided(_ total: Int, by count: Int) -> Int? {
    guard total % count == 0, total > 0 else {
      refuse(
        "train_batch_size = \(total) cannot be shared by \(processes) "
          + "\(processes == 1 ? "process" : "processes"): it is no multiple of \(count)")
      return nil
    }
    return total / count
  }

  /// Micro-batches of a process as the options say, or one.
  private mutating func eachFromOptions() -> Int? {
    guard isStated("gradient-accumulation"),
      let count = current("gradient-accumulation").flatMap({ Int($0) })
    else { return 1 }
    guard count % processes == 0, count > 0 else {
      contradict(
        "--gradient-accumulation \(count) counts the micro-batches of all processes: with \(source) "
          + "each of \(processes) needs as many")
      return nil
    }
    return count / processes
  }

  mutating func resolveClipping() {
    settle("max-gradient-norm", "gradient_clipping", fallback: "0.0")
  }

  mutating func resolveOthers() {
    if let flag = value("activation_checkpointing.cpu_checkpointing") {
      if flag.boolValue == true, !isOnProcessor {
        refuse(
          "activation_checkpointing.cpu_checkpointing = true is not supported on --device "
            + "\(current("device") ?? "auto"): what is kept stays on the device")
      }
      note(
        "activation_checkpointing.cpu_checkpointing", flag,
        "not needed here: what is kept lies in the processor's memory")
    }
    if let flag = value("tensorboard.enabled")?.boolValue {
      if flag {
        set("report-to", to: "tensorboard", "tensorboard.enabled")
      } else {
        note("tensorboard.enabled", .bool(flag), "--report-to \(current("report-to") ?? "none")")
      }
    }
  }
}
