import Layers
import Optimizers
import TestSupport
import Tensors
import Testing

@Suite struct OptimizerTests {
  private typealias Named = [(name: String, parameter: Parameter)]

  private func parameters() -> Named {
    let initial = OptimizerGoldens.initial
    return [
      ("w", Parameter(Tensor(initial[0], shape: [3, 5]))), ("b", Parameter(Tensor(initial[1]))),
    ]
  }

  /// The run of scripts/goldens/adamw.py; returns the norms before clipping.
  private func run(
    _ optimizer: some Optimizer, _ parameters: Named, steps: Range<Int> = 0..<12
  ) -> [Double] {
    var norms: [Double] = []
    for step in steps {
      for (_, parameter) in parameters {
        parameter.value.gradient = parameter.value * parameter.value - 0.3
      }
      norms.append(clipGradients(parameters.map(\.parameter), maximumNorm: 1))
      optimizer.step(learningRate: 0.05 / Double(1 + step))
    }
    return norms
  }

  private func expectGolden(
    _ optimizer: some Optimizer, _ parameters: Named, _ norms: [Double], _ tensors: [[Double]]
  ) {
    let seen = run(optimizer, parameters)
    expectClose(Tensor(seen), Tensor(norms), absolute: 0, relative: 2e-7)
    let values =
      parameters.map(\.parameter.value)
      + optimizer.state.filter { $0.name != "step" }.map(\.tensor)
    #expect(values.count == tensors.count)
    for (value, expected) in zip(values, tensors) {
      expectClose(
        value, Tensor(expected, shape: value.shape), absolute: 1e-8, relative: 2e-7)
    }
  }

  @Test func `AdamW takes the steps of torch`() {
    let parameters = parameters()
    let optimizer = AdamW(parameters, AdamWConfiguration(weightDecay: 0.1))
    expectGolden(
      optimizer, parameters, OptimizerGoldens.adamWNorms, OptimizerGoldens.adamW)
    #expect(optimizer.stepCount == 12)
    #expect(
      optimizer.state.map(\.name) == [
        "w.exp_avg", "w.exp_avg_sq", "b.exp_avg", "b.exp_avg_sq", "step",
      ])
  }

  @Test func `SGD takes the steps of torch`() {
    let cases: [(SGDConfiguration, [Double], [[Double]])] = [
      (SGDConfiguration(), OptimizerGoldens.sgdNorms, OptimizerGoldens.sgd),
      (
        SGDConfiguration(momentum: 0.9), OptimizerGoldens.sgdWithMomentumNorms,
        OptimizerGoldens.sgdWithMomentum
      ),
      (
        SGDConfiguration(momentum: 0.9, looksAhead: true),
        OptimizerGoldens.sgdLookingAheadNorms, OptimizerGoldens.sgdLookingAhead
      ),
    ]
    for (settings, norms, tensors) in cases {
      var configuration = settings
      configuration.weightDecay = 0.1
      let parameters = parameters()
      expectGolden(SGD(parameters, configuration), parameters, norms, tensors)
    }
  }

  @Test func `a loaded state goes on bit for bit`() throws {
    func check(_ make: (Named) -> some Optimizer) throws {
      let whole = parameters()
      _ = run(make(whole), whole)
      let halves = parameters()
      let first = make(halves)
      _ = run(first, halves, steps: 0..<5)
      let second = make(halves)
      try second.load(
        Dictionary(uniqueKeysWithValues: first.state.map { ($0.name, $0.tensor) }))
      _ = run(second, halves, steps: 5..<12)
      for (a, b) in zip(whole, halves) {
        #expect(a.parameter.value.array(of: Float.self) == b.parameter.value.array(of: Float.self))
      }
    }
    try check { AdamW($0, AdamWConfiguration(weightDecay: 0.1)) }
    try check { SGD($0, SGDConfiguration(momentum: 0.9, weightDecay: 0.1)) }
  }

  @Test func `a state that does not fit is refused and changes nothing`() {
    let optimizer = AdamW(parameters(), AdamWConfiguration())
    let good = Dictionary(uniqueKeysWithValues: optimizer.state.map { ($0.name, $0.tensor) })
    #expect(throws: OptimizerError.state(name: "w.exp_avg", reason: "is missing")) {
      try optimizer.load([:])
    }
    var bad = good
    bad["w.exp_avg"] = .ones([3, 5])
    bad["b.exp_avg_sq"] = .zeros([6])
    #expect(
      throws: OptimizerError.state(
        name: "b.exp_avg_sq", reason: "has shape [6], expected [7]")
    ) { try optimizer.load(bad) }
    bad = good
    bad["w.exp_avg"] = .ones([3, 5])
    bad["step"] = Tensor([-1] as [Float])
    #expect(throws: OptimizerError.state(name: "step", reason: "is -1.0, expected a count")) {
      try optimizer.load(bad)
    }
    #expect(optimizer.state[0].tensor.array(of: Float.self) == [Float](repeating: 0, count: 15))
  }

  @Test func `each group decays as it is told, and nothing moves without a gradient`() {
    let parameters = parameters()
    let optimizer = AdamW(
      parameters, AdamWConfiguration(weightDecay: 0.5), decays: { name, _ in name == "b" })
    parameters[0].parameter.value.gradient = .zeros([3, 5])
    parameters[1].parameter.value.gradient = .zeros([7])
    optimizer.step(learningRate: 0.1)
    expectClose(
      parameters[1].parameter.value, Tensor(OptimizerGoldens.initial[1]) * 0.95, absolute: 1e-8)
    #expect(parameters[0].parameter.value.array() == OptimizerGoldens.initial[0])
    optimizer.zeroGradients()
    #expect(parameters.allSatisfy { $0.parameter.value.gradient == nil })
    let before: [Float] = parameters[1].parameter.value.array()
    optimizer.step(learningRate: 0.1)
    #expect(parameters[1].parameter.value.array() == before)
  }

  @Test func `a step trains a leaf in place`() {
    let parameter = Parameter(Tensor([1, 2] as [Float]))
    parameter.isTrainable = true
    let value = parameter.value
    (value * value).sum().backward()
    SGD([("p", parameter)], SGDConfiguration()).step(learningRate: 0.25)
    #expect(parameter.value === value && value.isLeaf && value.requiresGradient)
    #expect(value.array(of: Float.self) == [0.5, 1])
  }
}
