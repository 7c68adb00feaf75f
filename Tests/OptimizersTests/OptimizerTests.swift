import Layers
import Optimizers
import Tensors
import TestSupport
import Testing

@Suite struct OptimizerTests {
  @Test func `AdamW takes the steps of torch`() throws {
    // torch 2.13.0: w = [1, -2, 3] (shape [1, 3]), gradient = w^2 at each of three steps,
    // AdamW(lr=0.1, weight_decay=0.01).
    let parameter = Parameter(Tensor([1, -2, 3] as [Double], shape: [1, 3]))
    let optimizer = AdamW([("w", parameter)], AdamWConfiguration(weightDecay: 0.01))
    for _ in 0..<3 {
      parameter.value.gradient = parameter.value * parameter.value
      optimizer.step(learningRate: 0.1)
    }
    expectClose(
      parameter.value, Tensor(AdamWGolden.afterThreeSteps, shape: [1, 3]), relative: 1e-12)
    let copy = AdamW([("w", parameter)], AdamWConfiguration(weightDecay: 0.01))
    try copy.load(
      Dictionary(optimizer.state.map { ($0.name, $0.tensor) }, uniquingKeysWith: { a, _ in a }))
    #expect(copy.stepCount == 3)
    #expect(throws: OptimizerError.self) { try copy.load([:]) }
  }

  @Test func `gradients are scaled down together`() {
    let (a, b) = (Parameter(.zeros([2])), Parameter(.zeros([1])))
    a.value.gradient = Tensor([3, 0] as [Float])
    b.value.gradient = Tensor([4] as [Float])
    #expect(abs(clipGradients([a, b], maximumNorm: 1) - 5) < 1e-6)
    #expect(abs(clipGradients([a, b], maximumNorm: nil) - 1) < 1e-5)
  }

  @Test func `schedules follow transformers`() {
    // Base rate 1, 2 warm-up steps, 10 in all; transformers 5.23.0.
    let expected: [(LearningRateSchedule, [Double])] = [
      (.linear, [0, 0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0]),
      (
        .cosine,
        [
          0, 0.5, 1, 0.9619398, 0.8535534, 0.6913417, 0.5, 0.3086583, 0.1464466, 0.0380602, 0,
        ]
      ),
      (
        .inverseSqrt,
        [
          0, 0.5, 1, 0.8164966, 0.7071068, 0.6324555, 0.5773503, 0.5345225, 0.5, 0.4714045,
          0.4472136,
        ]
      ),
    ]
    for (schedule, values) in expected {
      for (step, value) in values.enumerated() {
        #expect(
          abs(schedule.factor(step: step, warmupSteps: 2, totalSteps: 10) - value) < 1e-7,
          "\(schedule) at \(step)")
      }
    }
  }
}
