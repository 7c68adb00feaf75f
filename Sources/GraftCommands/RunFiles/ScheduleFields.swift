import CommandLineParsing
import JSONValues
import Optimizers

/// Fields of DeepSpeed's schedules, by its names.
struct ScheduleFields {
  private let name: String
  private var object: JSONObject

  /// Reads a schedule's fields.
  ///
  /// - Parameters:
  ///   - name: The schedule's.
  ///   - fields: Fields and values; "auto" leaves to the run what the run knows.
  /// - Returns: The schedule.
  /// - Throws: ``RecipeError`` for a field that is not known or has a value that it cannot have.
  static func schedule(_ name: String, _ fields: JSONObject) throws -> DeepSpeedSchedule {
    var reader = ScheduleFields(name: name, object: fields)
    // What DeepSpeed counts on from; a run here begins at its own place.
    _ = try reader.number("last_batch_iteration", default: -1, in: -1 ... -1)
    let schedule = try reader.schedule()
    if let left = reader.object.keys.first {
      let known = Self.names[name] ?? []
      let near = nearestName(left, among: known).map { "; did you mean \($0)?" } ?? ""
      throw RecipeError("\(name) has no \(left)\(near)")
    }
    return schedule
  }

  /// What "auto" means for a field; nil where it cannot stand.
  static func autoMeaning(_ field: String) -> String? {
    switch field {
    case "warmup_min_lr": "0"
    case "warmup_max_lr": "--learning-rate"
    case "warmup_num_steps": "--warmup-steps or --warmup-ratio, at least 1"
    case "total_num_steps": "the updates of the run"
    default: nil
    }
  }

  private static let names = [
    "WarmupLR": ["warmup_min_lr", "warmup_max_lr", "warmup_num_steps", "warmup_type"],
    "WarmupDecayLR": [
      "total_num_steps", "warmup_min_lr", "warmup_max_lr", "warmup_num_steps", "warmup_type",
    ],
    "WarmupCosineLR": [
      "total_num_steps", "warmup_min_ratio", "warmup_num_steps", "cos_min_ratio", "warmup_type",
    ],
    "OneCycle": [
      "cycle_min_lr", "cycle_max_lr", "decay_lr_rate", "cycle_first_step_size",
      "cycle_second_step_size", "cycle_first_stair_count", "cycle_second_stair_count",
      "decay_step_size",
    ],
    "LRRangeTest": [
      "lr_range_test_min_lr", "lr_range_test_step_size", "lr_range_test_step_rate",
      "lr_range_test_staircase",
    ],
  ]

  private mutating func schedule() throws -> DeepSpeedSchedule {
    switch name {
    case "WarmupLR": return .warmup(try warmup(maximum: nil))
    case "WarmupDecayLR":
      var rates = try warmup(maximum: 0.001)
      rates.totalSteps = try count("total_num_steps", default: nil)
      return .warmupDecay(rates)
    case "WarmupCosineLR":
      var cosine = WarmupCosine()
      cosine.minimumRatio = try number("warmup_min_ratio", default: cosine.minimumRatio)
      cosine.steps = try count("warmup_num_steps", default: cosine.steps)
      cosine.finalRatio = try number("cos_min_ratio", default: cosine.finalRatio)
      cosine.shape = try shape()
      cosine.totalSteps = try count("total_num_steps", default: nil)
      return .warmupCosine(cosine)
    case "OneCycle": return .oneCycle(try cycle())
    default:
      var test = RangeTest()
      test.minimum = try number("lr_range_test_min_lr", default: test.minimum)
      test.steps = try count("lr_range_test_step_size", default: test.steps) ?? test.steps
      test.stepRate = try number("lr_range_test_step_rate", default: test.stepRate)
      test.isStaircase = try flag("lr_range_test_staircase")
      return .rangeTest(test)
    }
  }

  private mutating func warmup(maximum: Double?) throws -> WarmupRates {
    var rates = WarmupRates()
    rates.minimum = try number("warmup_min_lr", default: rates.minimum)
    // The optimiser's own rate where the field is "auto", or missing in WarmupLR.
    rates.maximum = maximum
    if let value = object["warmup_max_lr"] {
      rates.maximum = value.isAuto || value.isNull ? nil : try number("warmup_max_lr", default: 0)
      object["warmup_max_lr"] = nil
    }
    rates.steps = try count("warmup_num_steps", default: rates.steps)
    rates.shape = try shape()
    return rates
  }

  private mutating func cycle() throws -> OneCycle {
    for required in ["cycle_min_lr", "cycle_max_lr"] where object[required] == nil {
      throw RecipeError("OneCycle needs \(required)")
    }
    var cycle = OneCycle(
      minimum: try number("cycle_min_lr", default: 0),
      maximum: try number("cycle_max_lr", default: 0))
    cycle.firstSteps = try number(
      "cycle_first_step_size", default: cycle.firstSteps, in: 1e-9...1e15)
    if let second = object["cycle_second_step_size"], !second.isNull {
      cycle.secondSteps = try number("cycle_second_step_size", default: 0)
    }
    cycle.firstStairs = Int(try number("cycle_first_stair_count", default: 0))
    if let second = object["cycle_second_stair_count"], !second.isNull {
      cycle.secondStairs = Int(try number("cycle_second_stair_count", default: 0))
    }
    for null in ["cycle_second_step_size", "cycle_second_stair_count"] { object[null] = nil }
    cycle.decaySteps = try number("decay_step_size", default: cycle.decaySteps)
    cycle.decayRate = try number("decay_lr_rate", default: cycle.decayRate)
    return cycle
  }

  private mutating func take(_ field: String) -> JSON? {
    defer { object[field] = nil }
    return object[field]
  }

  private mutating func number(
    _ field: String, default value: Double, in range: ClosedRange<Double> = 0...1e15
  ) throws -> Double {
    guard let found = take(field) else { return value }
    guard let number = found.doubleValue, range.contains(number) else {
      throw RecipeError(
        "\(field) is \(found.written), expected "
          + (range.upperBound < 0
            ? "\(Int(range.upperBound))"
            : range.lowerBound > 0 ? "more than 0" : "a number, 0 or more"))
    }
    return number
  }

  /// A positive count; nil where it is "auto".
  private mutating func count(_ field: String, default value: Int?) throws -> Int? {
    guard let found = take(field) else { return value }
    if found.isAuto, Self.autoMeaning(field) != nil { return nil }
    guard let number = found.wholeNumber, number > 0 else {
      throw RecipeError("\(field) is \(found.written), expected a positive whole number")
    }
    return number
  }

  private mutating func flag(_ field: String) throws -> Bool {
    guard let found = take(field) else { return false }
    guard let flag = found.boolValue else {
      throw RecipeError("\(field) is \(found.written), expected true or false")
    }
    return flag
  }

  private mutating func shape() throws -> WarmupShape {
    guard let found = take("warmup_type") else { return .log }
    guard let shape = found.stringValue.flatMap(WarmupShape.init(rawValue:)) else {
      throw RecipeError("warmup_type is \(found.written), expected log or linear")
    }
    return shape
  }
}
