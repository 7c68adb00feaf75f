import Foundation
import Optimizers
import Testing

@Suite struct LearningRateScheduleTests {
  @Test(arguments: OptimizerGoldens.schedules.indices)
  func `schedules follow transformers`(index: Int) throws {
    let (name, values, factors) = OptimizerGoldens.schedules[index]
    let schedule = try #require(LearningRateSchedule(rawValue: name))
    var settings = LearningRateSchedule.Settings()
    for (key, value) in values {
      switch key {
      case "num_cycles": settings.cycles = Int(value)
      case "power": settings.power = value
      case "lr_end": settings.finalRate = value
      case "min_lr_rate", "min_lr_ratio": settings.minimumFactor = value
      case "num_decay_steps": settings.decaySteps = Int(value)
      case "timescale": settings.timeScale = Int(value)
      default: Issue.record("\(key) is not known")
      }
    }
    for (step, expected) in factors.enumerated() {
      let factor = schedule.factor(
        step: step, warmupSteps: 3, totalSteps: 20, baseRate: 2e-4, settings: settings)
      #expect(abs(factor - expected) < 1e-12, "\(name) at \(step)")
    }
  }

  @Test func `every case but the alias is compared`() {
    let compared = Set(OptimizerGoldens.schedules.map(\.name)).union(["constant"])
    #expect(compared == Set(LearningRateSchedule.allCases.map(\.rawValue)))
  }

  @Test func `constant warms up as constant_with_warmup does`() {
    for step in 0..<9 {
      #expect(
        LearningRateSchedule.constant.factor(step: step, warmupSteps: 4, totalSteps: 8)
          == LearningRateSchedule.constantWithWarmup.factor(
            step: step, warmupSteps: 4, totalSteps: 8))
    }
    #expect(LearningRateSchedule.constant.factor(step: 0, warmupSteps: 0, totalSteps: 8) == 1)
  }

  @Test(arguments: LearningRateSchedule.allCases)
  func `factors stay in 0 ... 1 whatever the lengths`(schedule: LearningRateSchedule) {
    for (warmup, total) in [(0, 0), (0, 1), (1, 1), (5, 3), (3, 7)] {
      for step in 0...10 {
        let factor = schedule.factor(step: step, warmupSteps: warmup, totalSteps: total)
        #expect((0...1).contains(factor), "\(schedule) at \(step) of \(total), warm-up \(warmup)")
      }
    }
  }

  @Test func `schedules are saved by name`() throws {
    let data = try JSONEncoder().encode(LearningRateSchedule.allCases)
    #expect(
      try JSONDecoder().decode([LearningRateSchedule].self, from: data)
        == LearningRateSchedule.allCases)
    #expect(String(decoding: data, as: UTF8.self).contains("\"inverse_sqrt\""))
  }
}
