import CommandLineParsing
import JSONValues
import Optimizers
import Tensors

extension FileResolution {
  /// Stages that `--zero` takes.
  static let stages = 0...3

  /// Whether the run is computed on the processor.
  var isOnProcessor: Bool {
    switch current("device") ?? "auto" {
    case "auto": Device.best == .cpu
    case let name: name == "cpu"
    }
  }

  mutating func resolveZero() {
    let key = "zero_optimization"
    if let isOn = value(key)?.boolValue {
      set("zero", to: isOn ? "1" : "0", key, note: "an old spelling of {\"stage\": 1}")
      return
    }
    if has(key) {
      if let stage = value(key + ".stage")?.wholeNumber, !Self.stages.contains(stage) {
        refuse(
          "\(key).stage = \(stage) is not supported: expected \(Self.stages.lowerBound) to "
            + "\(Self.stages.upperBound)")
        return
      }
      settle("zero", key + ".stage", fallback: "0")
    } else {
      keep("zero", key + ".stage")
    }
    resolveParameterOffload(key)
  }

  private mutating func resolveParameterOffload(_ key: String) {
    let old = key + ".cpu_offload_param"
    if let flag = value(old)?.boolValue {
      if flag, !isOnProcessor { refuseWeights(old, "true") }
      note(old, .bool(flag), "not needed here: weights lie in the processor's memory")
    }
    let place = key + ".offload_param.device"
    guard let device = value(place), !device.isAuto else { return }
    switch device.stringValue ?? "" {
    case "none": note(place, device, "weights stay where they are used")
    case "nvme":
      if !isOnProcessor { refuseWeights(place, device.written) }
      if current("method")?.lowercased() == "full" {
        refuse(
          "\(place) = \(device.written) is not supported with --method full: what is trained lies in "
            + "memory, and nothing is frozen")
      }
      set(
        "base-offload", to: "disk", place,
        note: "each process's share of the frozen base lies in files in --output")
    case "cpu":
      if !isOnProcessor { refuseWeights(place, device.written) }
      note(place, device, "not needed here: weights lie in the processor's memory")
    default: refuse("\(place) is \(device.written), expected none, cpu or nvme")
    }
    noteUnusedPath(key + ".offload_param.nvme_path")
  }

  private mutating func refuseWeights(_ key: String, _ value: String) {
    refuse(
      "\(key) = \(value) is not supported on --device \(current("device") ?? "auto"): weights stay where "
        + "they are used")
  }

  private mutating func noteUnusedPath(_ key: String) {
    if let path = value(key) { note(key, path, "not used: files lie in --output") }
  }

  /// Where the optimiser's state lies: whether its name begins with paged-.
  mutating func resolvesToFile() -> Bool {
    let key = "zero_optimization"
    let old = key + ".cpu_offload"
    if let flag = value(old)?.boolValue {
      if flag, !isOnProcessor { refuseProcessor(old, "true") }
      note(old, .bool(flag), "not needed here: states lie in the processor's memory")
    }
    let place = key + ".offload_optimizer.device"
    guard let device = value(place), !device.isAuto else { return false }
    switch device.stringValue ?? "" {
    case "none":
      note(place, device, "states lie where the parameters do")
      return false
    case "cpu":
      if !isOnProcessor { refuseProcessor(place, "cpu") }
      note(place, device, "not needed here: states lie in the processor's memory")
      return false
    case "nvme":
      note(place, device, "paged- before the optimiser's name: states lie in a file in --output")
      noteUnusedPath(key + ".offload_optimizer.nvme_path")
      return true
    default:
      refuse("\(place) is \(device.written), expected none, cpu or nvme")
      return false
    }
  }

  private mutating func refuseProcessor(_ key: String, _ value: String) {
    refuse(
      "\(key) = \(value) is not supported on --device \(current("device") ?? "auto"): states lie there "
        + "or, with nvme, in a file")
  }
}
