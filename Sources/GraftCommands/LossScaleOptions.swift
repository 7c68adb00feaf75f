import CommandLineParsing
import Foundation
import JSONValues
import Training

/// The option that says how losses are scaled.
enum LossScaleOptions {
  static let lossScale = Option<String>(
    "loss-scale", default: "none", group: "Optimiser",
    help:
      "With --precision float16: dynamic, a power of 2, or a JSON object of DeepSpeed's fields of fp16 "
      + "(initial_scale_power, loss_scale_window, hysteresis, consecutive_hysteresis, min_loss_scale)."
  )

  /// What the option means; nil for no scale.
  static func scaling(_ arguments: ParsedArguments) throws -> LossScaling? {
    let text = try arguments.value(lossScale)
    guard text != "none" else { return nil }
    guard arguments[ModelOptions.precision] == .float16 else {
      throw UsageError("--loss-scale \(text) needs --precision float16")
    }
    if TrainCommand.isFull(arguments) {
      throw UsageError("--loss-scale \(text): --method full trains in float16 itself")
    }
    if text == "dynamic" { return LossScaling() }
    if let number = Double(text) { return try fixed(number) }
    guard let object = try? JSON.parse(text, rejectDuplicateKeys: true).objectValue else {
      throw UsageError("--loss-scale is \(text), expected dynamic, a power of 2 or a JSON object")
    }
    return try dynamic(object)
  }

  private static func fixed(_ factor: Double) throws -> LossScaling {
    guard factor > 0, factor.isFinite, log2(factor) == log2(factor).rounded() else {
      throw UsageError("--loss-scale is \(factor), expected a power of 2")
    }
    var scaling = LossScaling()
    (scaling.initial, scaling.isDynamic) = (factor, false)
    return scaling
  }

  private static func dynamic(_ object: JSONObject) throws -> LossScaling {
    var scaling = LossScaling()
    func whole(_ key: String, _ value: JSON, _ range: ClosedRange<Int>) throws -> Int {
      guard let number = value.wholeNumber, range.contains(number) else {
        throw UsageError(
          "--loss-scale: \(key) is \(value.written), expected a number in \(range)")
      }
      return number
    }
    for (key, value) in object {
      switch key {
      case "initial_scale_power": scaling.initial = exp2(Double(try whole(key, value, 0...30)))
      case "loss_scale_window": scaling.window = try whole(key, value, 1...1_000_000_000)
      case "hysteresis": scaling.hysteresis = try whole(key, value, 1...1_000_000)
      case "min_loss_scale": scaling.minimum = Double(try whole(key, value, 1...(1 << 30)))
      case "consecutive_hysteresis":
        guard let flag = value.boolValue else {
          throw UsageError("--loss-scale: \(key) is \(value.written), expected true or false")
        }
        scaling.isConsecutive = flag
      default: throw UsageError("--loss-scale: \(key) is not known")
      }
    }
    guard scaling.minimum <= scaling.initial,
      log2(scaling.minimum) == log2(scaling.minimum).rounded()
    else {
      throw UsageError(
        "--loss-scale: min_loss_scale is \(scaling.minimum), expected a power of 2 up to the first scale"
      )
    }
    return scaling
  }
}
