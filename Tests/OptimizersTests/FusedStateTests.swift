import Checkpoints
import Foundation
import Layers
import Optimizers
import Quantization
import TestSupport
import Tensors
import Testing

/// What `FusedOptimizer` keeps: layout, saving, overrides, memory.
@Suite struct FusedStateTests {
  private typealias Named = [(name: String, parameter: Parameter)]

  private func parameters() -> Named {
    [("big", [70, 60]), ("small", [7, 9]), ("vector", [5000])].enumerated().map { index, named in
      let values = Tensor.randomNormal(named.1, generator: Generator(seed: UInt64(index)))
      return (named.0, Parameter(values))
    }
  }

  private func run(_ optimizer: some Optimizer, _ parameters: Named, steps: Range<Int>) {
    for step in steps {
      for (index, (_, parameter)) in parameters.enumerated() {
        let generator = Generator(seed: UInt64(10 * step + index))
        parameter.value.gradient =
          Tensor.randomNormal(parameter.value.shape, generator: generator) * 0.01
      }
      optimizer.step(learningRate: 0.01)
    }
  }

  private func saved(_ optimizer: some Optimizer) -> [String: Tensor] {
    Dictionary(uniqueKeysWithValues: optimizer.state.map { ($0.name, $0.tensor.cloned()) })
  }

  private func expectSame(
    _ left: Named, _ right: Named, _ first: some Optimizer, _ second: some Optimizer,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    for (a, b) in zip(left, right) {
      #expect(
        a.parameter.value.isEqual(to: b.parameter.value), "\(a.name)",
        sourceLocation: sourceLocation)
    }
    for (a, b) in zip(first.state, second.state) {
      #expect(
        a.name == b.name && a.tensor.isEqual(to: b.tensor), "\(a.name)",
        sourceLocation: sourceLocation)
    }
  }

  @Test func `names, shapes and types are bitsandbytes'`() throws {
    let all = try FusedOptimizer(parameters(), FusedOptimizerConfiguration(.adEMAMix, stateBits: 8))
    let found = all.state.map { "\($0.name) \($0.tensor.dtype) \($0.tensor.shape)" }
    #expect(
      found == [
        "big.state1 uint8 [2, 70, 60]", "big.state2 uint8 [70, 60]", "big.qmap1 float32 [256]",
        "big.qmap2 float32 [256]", "big.absmax1 float32 [2, 17]", "big.absmax2 float32 [17]",
        "big.step int64 [1]", "small.state1 float32 [2, 7, 9]", "small.state2 float32 [7, 9]",
        "small.step int64 [1]", "vector.state1 uint8 [2, 5000]", "vector.state2 uint8 [5000]",
        "vector.qmap1 float32 [256]", "vector.qmap2 float32 [256]",
        "vector.absmax1 float32 [2, 20]", "vector.absmax2 float32 [20]", "vector.step int64 [1]",
      ])
    let lars = try FusedOptimizer(parameters(), FusedOptimizerConfiguration(.lars, stateBits: 8))
    #expect(
      lars.state.prefix(7).map(\.name) == [
        "big.state1", "big.qmap1", "big.absmax1", "big.unorm_vec", "big.step", "small.state1",
        "small.unorm_vec",
      ])
  }

  @Test func `bytes of an element`() throws {
    for (rule, limit) in [(UpdateRule.adamW, 2.04), (.lion, 1.02), (.adEMAMix, 3.05)] {
      let parameter = Parameter(.zeros([512, 512]))
      let optimizer = try FusedOptimizer(
        [("w", parameter)], FusedOptimizerConfiguration(rule, stateBits: 8))
      #expect(Double(optimizer.stateByteCount) / Double(512 * 512) < limit)
    }
  }

  @Test(arguments: UpdateRule.allCases) func `a loaded state goes on bit for bit`(
    _ rule: UpdateRule
  ) throws {
    try withTemporaryDirectory { directory in
      let settings = FusedOptimizerConfiguration(rule, stateBits: 8)
      let whole = parameters()
      let one = try FusedOptimizer(whole, settings)
      run(one, whole, steps: 0..<9)
      let halves = parameters()
      let first = try FusedOptimizer(halves, settings)
      run(first, halves, steps: 0..<4)
      let path = directory + "/optimizer.safetensors"
      try SafetensorsWriter.save(path, tensors: first.state)
      // A paged optimiser takes the same states and goes on to the same numbers.
      let second = try FusedOptimizer(halves, settings, stateDirectory: directory)
      try second.load(
        Dictionary(
          uniqueKeysWithValues: try SafetensorsFile(path: path).tensors().map {
            ($0.name, $0.tensor)
          }))
      run(second, halves, steps: 4..<9)
      expectSame(whole, halves, one, second)
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: directory) == ["optimizer.safetensors"])
    }
  }

  @Test func `a file that cannot be made`() throws {
    try withTemporaryDirectory { directory in
      let missing = directory + "/missing"
      let first = #expect(throws: CheckpointError.self) {
        _ = try FusedOptimizer(
          parameters(), FusedOptimizerConfiguration(.adamW, stateBits: 8), stateDirectory: missing)
      }
      guard case .parentMissing(_, missing) = first else {
        Issue.record("\(String(describing: first))")
        return
      }
      let second = #expect(throws: CheckpointError.self) {
        _ = try ScratchFile(directory: directory, count: 1 << 62)
      }
      #expect(second?.kind == .cannotWrite)
      let left = try FileManager.default.contentsOfDirectory(atPath: directory)
      #expect(left == [])
    }
  }

  @Test func `a state that does not fit is refused and changes nothing`() throws {
    let all = parameters()
    let optimizer = try FusedOptimizer(all, FusedOptimizerConfiguration(.adamW, stateBits: 8))
    run(optimizer, all, steps: 0..<2)
    let good = saved(optimizer)
    let plain = try FusedOptimizer(all, FusedOptimizerConfiguration(.adamW))
    func expectRefused(_ bad: [String: Tensor], _ name: String, _ reason: String) {
      #expect(throws: OptimizerError.state(name: name, reason: reason)) { try optimizer.load(bad) }
    }
    expectRefused(saved(plain), "big.qmap1", "is missing")
    var bad = good
    bad["big.state1"] = .zeros([70, 60])
    expectRefused(bad, "big.state1", "has type float32, expected uint8")
    bad = good
    bad["vector.qmap2"] = Tensor(CodeMap.dynamic.values)
    bad["big.state1"] = .zeros([70, 60], dtype: .uint8)
    expectRefused(bad, "vector.qmap2", "is not the dynamic map")
    bad = good
    bad["big.state1"] = .zeros([70, 60], dtype: .uint8)
    bad["vector.step"] = Tensor([-1])
    expectRefused(bad, "vector.step", "is -1.0, expected a count")
    for (name, tensor) in optimizer.state { #expect(good[name]?.isEqual(to: tensor) == true) }
  }

  @Test func `settings of one parameter`() throws {
    let all = parameters()
    let start = all.map { $0.parameter.value.cloned() }
    let optimizer = try FusedOptimizer(
      all, FusedOptimizerConfiguration(.lion, stateBits: 8, weightDecay: 0.5),
      overriding: { name, _, own in
        switch name {
        case "big": own.stateBits = 32
        case "small": (own.minimum8bitCount, own.learningRateFactor) = (1, 0)
        default: (own.weightDecay, own.blockSize, own.beta1) = (0.25, 100, 0)
        }
      })
    let shapes = optimizer.state.map { "\($0.name) \($0.tensor.dtype) \($0.tensor.shape)" }
    #expect(shapes[0] == "big.state1 float32 [70, 60]" && shapes[2] == "small.state1 uint8 [7, 9]")
    #expect(shapes.contains("vector.absmax1 float32 [50]"))
    for (index, (_, parameter)) in all.enumerated() {
      parameter.value.gradient = start[index].onesLike()
    }
    optimizer.step(learningRate: 0.1)
    let wanted = [start[0] * 0.95 - 0.1, start[1], start[2] * 0.975 - 0.1]
    for ((_, parameter), value) in zip(all, wanted) { expectClose(parameter.value, value) }
    // Without a gradient nothing moves and no step is counted.
    optimizer.zeroGradients()
    #expect(all.allSatisfy { $0.parameter.value.gradient == nil })
    optimizer.step(learningRate: 0.1)
    for ((_, parameter), value) in zip(all, wanted) { expectClose(parameter.value, value) }
    #expect(
      optimizer.state.filter { $0.name.hasSuffix(".step") }.allSatisfy { $0.tensor.item() == 1 })
  }

  /// A view that is not contiguous, and a leaf that requires gradients.
  @Test func `parameters of any kind`() throws {
    let base = Tensor.randomNormal([64, 80], generator: Generator(seed: 5))
    let settings = FusedOptimizerConfiguration(.adamW, stateBits: 8)
    let (turned, plain) = (
      Parameter(base.cloned().transposed()), Parameter(base.transposed().contiguous())
    )
    let gradient = Tensor.randomNormal([80, 64], generator: Generator(seed: 6))
    for parameter in [turned, plain] {
      let value = parameter.value
      parameter.isTrainable = true
      let optimizer = try FusedOptimizer([("w", parameter)], settings)
      for _ in 0..<3 {
        (value * gradient).sum().backward()
        optimizer.step(learningRate: 0.1)
        optimizer.zeroGradients()
      }
      #expect(parameter.value === value && value.isLeaf && value.requiresGradient)
    }
    #expect(!turned.value.isContiguous)
    #expect(turned.value.isEqual(to: plain.value))
    #expect(!plain.value.isEqual(to: base.transposed()))
  }

  /// Autograd notices that a parameter changed between a forward pass and its backward pass.
  @Test func `a step is seen by autograd`() async {
    for steps in [false, true] {
      await #expect(processExitsWith: steps ? .failure : .success) { [steps = steps as Bool] in
        let parameter = Parameter(Tensor.ones([64, 64]))
        parameter.isTrainable = true
        let loss = (parameter.value * parameter.value).sum()
        parameter.value.gradient = .ones([64, 64])
        let optimizer = try FusedOptimizer(
          [("w", parameter)], FusedOptimizerConfiguration(.adamW, stateBits: 8))
        if steps { optimizer.step(learningRate: 0.1) }
        loss.backward()
      }
    }
  }

  /// LoRA's B begins as zeros; a limit in lengths of it must not hold it there.
  @Test(arguments: [UpdateRule.lamb, .lars]) func `a parameter of zeros gets off the ground`(
    _ rule: UpdateRule
  ) throws {
    let parameter = Parameter(.zeros([64, 64]))
    let optimizer = try FusedOptimizer(
      [("w", parameter)], FusedOptimizerConfiguration(rule, stateBits: 8))
    parameter.value.gradient = .ones([64, 64])
    optimizer.step(learningRate: 0.5)
    expectClose(parameter.value, .full([64, 64], -0.5))
    optimizer.step(learningRate: 0.5)
    // The limit holds from then on: a length of 1 or 0.02 times 64 · 0.5.
    expectClose(parameter.value, .full([64, 64], rule == .lamb ? -0.75 : -0.505))
  }

  @Test func names() {
    #expect(OptimizerKind.names.count == 36 && Set(OptimizerKind.names).count == 36)
    for name in OptimizerKind.names { #expect(OptimizerKind(name)?.name == name) }
    for (alias, name) in [
      ("adamw_torch", "adamw"), ("adamw_torch_fused", "adamw"), ("adamw_8bit", "adamw-8bit"),
      ("adamw_bnb_8bit", "adamw-8bit"), ("paged_adamw_8bit", "paged-adamw-8bit"),
      ("paged_adamw_32bit", "paged-adamw"), ("lion_32bit", "lion"), ("lion_8bit", "lion-8bit"),
      ("paged_lion_8bit", "paged-lion-8bit"), ("rmsprop_bnb_8bit", "rmsprop-8bit"),
      ("rmsprop_bnb", "rmsprop"), ("ademamix_8bit", "ademamix-8bit"),
      ("paged_ademamix_32bit", "paged-ademamix"), ("AdamW-8bit", "adamw-8bit"),
    ] { #expect(OptimizerKind(alias)?.name == name, "\(alias)") }
    for name in ["", "paged", "adamx", "adamw-4bit", "lion_torch", "8bit", "paged-paged-adam"] {
      #expect(OptimizerKind(name) == nil, "\(name)")
    }
  }
}
