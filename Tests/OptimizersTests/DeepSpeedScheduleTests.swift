import Foundation
import Optimizers
import Testing

@Suite struct DeepSpeedScheduleTests {
  private let run = DeepSpeedSchedule.Run(baseRate: 2e-4, warmupSteps: 4, totalSteps: 20)

  @Test(arguments: DeepSpeedScheduleGoldens.schedules.indices)
  func `rates are DeepSpeed's`(index: Int) throws {
    let (name, fields, rates) = DeepSpeedScheduleGoldens.schedules[index]
    let schedule = try Self.schedule(name, fields)
    #expect(schedule.name == name)
    for (step, expected) in rates.enumerated() {
      let rate = schedule.rate(step: step, in: run)
      #expect(
        abs(rate - expected) <= 1e-12 * max(abs(expected), 1e-6), "\(name) \(fields) at \(step)")
    }
  }

  @Test func `every schedule is compared`() {
    #expect(
      Set(DeepSpeedScheduleGoldens.schedules.map(\.name)) == Set(DeepSpeedSchedule.names))
  }

  @Test func `a run says what a schedule leaves open`() {
    var rates = WarmupRates()
    rates.steps = nil
    let schedule = DeepSpeedSchedule.warmupDecay(rates)
    // No warm-up at all counts as one update, which DeepSpeed lengthens to two.
    let short = DeepSpeedSchedule.Run(baseRate: 1, warmupSteps: 0, totalSteps: 4)
    #expect(schedule.rate(step: 3, in: short) == 1)
    #expect(schedule.rate(step: 4, in: short) == 0.5)
    #expect(schedule.rate(step: 5, in: short) == 0)
    let longer = DeepSpeedSchedule.Run(baseRate: 2, warmupSteps: 3, totalSteps: 4)
    #expect(schedule.rate(step: 4, in: longer) == 2)
  }

  /// Makes a schedule of fields by DeepSpeed's names.
  private static func schedule(_ name: String, _ text: String) throws -> DeepSpeedSchedule {
    let fields = try #require(
      JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    func number(_ key: String) -> Double? { (fields[key] as? NSNumber)?.doubleValue }
    /// nil for "auto".
    func left<Value>(_ key: String, _ value: Value?, _ convert: (Double) -> Value) -> Value? {
      fields[key] is String ? nil : number(key).map(convert) ?? value
    }
    let shape = (fields["warmup_type"] as? String).flatMap(WarmupShape.init(rawValue:)) ?? .log
    switch name {
    case "WarmupLR", "WarmupDecayLR":
      var rates = WarmupRates()
      rates.minimum = number("warmup_min_lr") ?? 0
      rates.maximum = left("warmup_max_lr", name == "WarmupLR" ? nil : 1e-3) { $0 }
      rates.steps = left("warmup_num_steps", 1000, Int.init)
      rates.shape = shape
      rates.totalSteps = left("total_num_steps", nil, Int.init)
      return name == "WarmupLR" ? .warmup(rates) : .warmupDecay(rates)
    case "WarmupCosineLR":
      var cosine = WarmupCosine()
      cosine.minimumRatio = number("warmup_min_ratio") ?? cosine.minimumRatio
      cosine.finalRatio = number("cos_min_ratio") ?? cosine.finalRatio
      cosine.steps = left("warmup_num_steps", 1000, Int.init)
      cosine.shape = shape
      cosine.totalSteps = left("total_num_steps", nil, Int.init)
      return .warmupCosine(cosine)
    case "OneCycle":
      var cycle = OneCycle(
        minimum: try #require(number("cycle_min_lr")),
        maximum: try #require(number("cycle_max_lr")))
      cycle.firstSteps = number("cycle_first_step_size") ?? cycle.firstSteps
      cycle.secondSteps = number("cycle_second_step_size")
      cycle.firstStairs = number("cycle_first_stair_count").map { Int($0) } ?? 0
      cycle.secondStairs = number("cycle_second_stair_count").map { Int($0) }
      cycle.decaySteps = number("decay_step_size") ?? 0
      cycle.decayRate = number("decay_lr_rate") ?? 0
      return .oneCycle(cycle)
    default:
      var test = RangeTest()
      test.minimum = number("lr_range_test_min_lr") ?? test.minimum
      test.steps = number("lr_range_test_step_size").map { Int($0) } ?? test.steps
      test.stepRate = number("lr_range_test_step_rate") ?? test.stepRate
      test.isStaircase = (fields["lr_range_test_staircase"] as? Bool) ?? false
      return .rangeTest(test)
    }
  }
}
