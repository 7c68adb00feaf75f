import CKernels
import Foundation
import Layers
import Optimizers
import Quantization
import TestSupport
import Tensors
import Testing

/// Steps of every rule against the same rule in other arithmetic.
@Suite(.serialized) struct FusedRuleTests {
  /// Settings in which every term counts.
  static func settings(_ rule: UpdateRule, stateBits: Int) -> FusedOptimizerConfiguration {
    var settings = FusedOptimizerConfiguration(rule, stateBits: stateBits, weightDecay: 0.1)
    settings.beta3 = 0.97
    settings.beta3Warmup = 4
    settings.alphaWarmup = 3
    settings.learningRateFactor = 0.5
    if rule == .lamb { settings.maximumUpdateNorm = 0.9 }
    return settings
  }

  private func normal(_ count: Int, _ seed: UInt64, scale: Double = 1) -> [Float] {
    (Tensor.randomNormal([count], generator: Generator(seed: seed)) * scale).array()
  }

  /// Gradients of very different sizes, some zero.
  private func gradient(_ count: Int, step: Int) -> [Float] {
    let sizes = normal(count, UInt64(100 + step))
    return zip(normal(count, UInt64(200 + step)), sizes).enumerated().map { index, pair in
      index % 7 == 0 ? 0 : pair.0 * Float(exp(2 * Double(pair.1) - 5))
    }
  }

  private func state(_ optimizer: FusedOptimizer, _ key: String) -> Tensor? {
    optimizer.state.first { $0.name == "w." + key }?.tensor
  }

  /// Codes of a state as numbers, both halves of AdEMAMix's one behind the other.
  private func numbers(_ optimizer: FusedOptimizer, _ index: Int, count: Int) -> [Float]? {
    guard let codes = state(optimizer, "state\(index)") else { return nil }
    guard let scales = state(optimizer, "absmax\(index)")?.array(of: Float.self) else {
      return codes.array()
    }
    let map = (index == 1 ? CodeMap.dynamic : .dynamicUnsigned).values
    return codes.array(of: UInt8.self).enumerated().map { position, code in
      let (half, place) = position.quotientAndRemainder(dividingBy: count)
      let scale = scales[half * ((count + 255) / 256) + place / 256]
      return scale == 0 ? 0 : map[Int(code)] * scale
    }
  }

  @Test(arguments: UpdateRule.allCases) func `float32 state against float64`(_ rule: UpdateRule)
    throws
  {
    let settings = Self.settings(rule, stateBits: 32)
    let start = normal(1000, 1)
    let parameter = Parameter(Tensor(start, shape: [10, 100]))
    let optimizer = try FusedOptimizer([("w", parameter)], settings)
    var reference = ReferenceOptimizer(settings, start.map(Double.init))
    for step in 0..<12 {
      let gradient = gradient(1000, step: step)
      parameter.value.gradient = Tensor(gradient, shape: [10, 100])
      let rate = 0.05 / Double(1 + step)
      optimizer.step(learningRate: rate)
      reference.step(gradient.map(Double.init), rate: rate)
    }
    // The sign of a sum that is nearly zero may come out either way in Lion.
    let flips = rule == .lion ? 3 : 0
    let found: [Double] = parameter.value.array()
    let wrong = zip(found, reference.w).count { abs($0 - $1) > 3e-6 + 1e-5 * abs($1) }
    #expect(wrong <= flips, "\(wrong) elements differ")
    let first = numbers(optimizer, 1, count: 1000).map { $0.map(Double.init) } ?? []
    let wanted = rule == .adEMAMix ? reference.a + reference.b : reference.a
    expectClose(Tensor(first), Tensor(wanted), absolute: 1e-8, relative: 1e-5)
    if let second = numbers(optimizer, 2, count: 1000) {
      expectClose(
        Tensor(second.map(Double.init)), Tensor(reference.v), absolute: 1e-12, relative: 1e-5)
    }
  }

  /// Codes, magnitudes and parameters to the last bit, for each type of parameter.
  @Test(arguments: UpdateRule.allCases) func `codes against an exact search`(_ rule: UpdateRule)
    throws
  {
    let count = 67 * 64  // The last block is short.
    for dtype in [DType.float32, .float16, .bfloat16] {
      for bits in dtype == .float32 ? [8] : [8, 32] {
        let settings = Self.settings(rule, stateBits: bits)
        let start = Tensor(normal(count, 2), shape: [67, 64]).to(dtype)
        let gradients = (0..<5).map {
          Tensor(gradient(count, step: $0), shape: [67, 64]).to(dtype)
        }
        var reference = ReferenceOptimizer<Float>(settings, start.array(), usesCodes: bits == 8)
        for (step, gradient) in gradients.enumerated() {
          reference.step(gradient.array(), rate: 0.02 / Double(1 + step))
          reference.w = Tensor(reference.w).to(dtype).array()
        }
        try withEachInstructionSet {
          let parameter = Parameter(start.cloned())
          let optimizer = try FusedOptimizer([("w", parameter)], settings)
          for (step, gradient) in gradients.enumerated() {
            parameter.value.gradient = gradient
            optimizer.step(learningRate: 0.02 / Double(1 + step))
          }
          #expect(parameter.value.array(of: Float.self) == reference.w, "\(dtype), \(bits)")
          let wanted = rule == .adEMAMix ? reference.a + reference.b : reference.a
          #expect(numbers(optimizer, 1, count: count) == wanted, "\(dtype), \(bits)")
          if rule.hasSecondState { #expect(numbers(optimizer, 2, count: count) == reference.v) }
          if bits == 8 {
            let own = reference.magnitudes
            let both = (own["a"] ?? []) + (rule == .adEMAMix ? own["b"] ?? [] : [])
            #expect(state(optimizer, "absmax1")?.array(of: Float.self) == both)
          }
        }
      }
    }
  }

  /// What has neither gradient nor state does not move, not even the sign of a zero.
  @Test(arguments: UpdateRule.allCases) func `zero stays zero`(_ rule: UpdateRule) throws {
    for bits in [8, 32] {
      var start = normal(4096, 3)
      start[0] = 0
      start[2] = -0.0
      try withEachInstructionSet {
        let parameter = Parameter(Tensor(start, shape: [64, 64]))
        var settings = FusedOptimizerConfiguration(rule, stateBits: bits, weightDecay: 0)
        if settings.maximumUpdateNorm != nil { settings.maximumUpdateNorm = 10 }
        let optimizer = try FusedOptimizer([("w", parameter)], settings)
        for step in 0..<100 {
          var gradient = normal(4096, UInt64(step), scale: 0.01)
          for index in stride(from: 0, to: 4096, by: 2) {
            gradient[index] = index % 4 == 0 ? 0 : -0.0
          }
          parameter.value.gradient = Tensor(gradient, shape: [64, 64])
          optimizer.step(learningRate: 1e-3)
        }
        let end: [Float] = parameter.value.array()
        let moved = end.indices.filter { end[$0].bitPattern != start[$0].bitPattern }
        #expect(moved.allSatisfy { $0 % 2 == 1 } && moved.count > 2000, "\(moved.count)")
      }
    }
  }

  @Test(arguments: UpdateRule.allCases) func `non-finite gradients`(_ rule: UpdateRule) throws {
    // The last one is finite, but what is made of it is not.
    let bad: [(index: Int, value: Float)] = [
      (3, .nan), (300, .infinity), (301, -.infinity), (4100, 3e38),
    ]
    let start = normal(67 * 64, 4)
    for bits in [8, 32] {
      var settings = Self.settings(rule, stateBits: bits)
      if settings.maximumUpdateNorm != nil { settings.maximumUpdateNorm = 1e30 }
      let parameter = Parameter(Tensor(start, shape: [67, 64]))
      let optimizer = try FusedOptimizer([("w", parameter)], settings)
      var reference = ReferenceOptimizer<Float>(settings, start, usesCodes: bits == 8)
      for step in 0..<3 {
        var gradient = gradient(67 * 64, step: step)
        if step == 1 { for (index, value) in bad { gradient[index] = value } }
        parameter.value.gradient = Tensor(gradient, shape: [67, 64])
        let before: [Float] = parameter.value.array()
        optimizer.step(learningRate: 0.01)
        reference.step(gradient, rate: 0.01)
        let after: [Float] = parameter.value.array()
        if bits == 8 {
          #expect(after == reference.w && after.allSatisfy(\.isFinite))
          if step == 1 {
            for (index, _) in bad.prefix(3) {
              #expect(after[index] == before[index])
              #expect(numbers(optimizer, 1, count: 67 * 64)?[index] == 0)
            }
          }
        } else if step >= 1 {
          // As torch: the numbers go where arithmetic takes them, and to no neighbour. The sign of
          // NaN is 0.
          let wanted = rule == .lion || settings.maximumUpdateNorm != nil ? [] : [3]
          #expect(wanted.allSatisfy { after[$0].isNaN })
          #expect(numbers(optimizer, 1, count: 67 * 64)?[3].isNaN == true)
          if settings.maximumUpdateNorm == nil {
            let touched = Set(bad.map(\.index))
            #expect(
              after.indices.allSatisfy { touched.contains($0) || after[$0] == reference.w[$0] })
          }
        }
      }
    }
  }

  /// The golden runs of `AdamW` and `SGD`, by other orders of operations.
  @Test func `torch's AdamW and SGD`() throws {
    let initial = OptimizerGoldens.initial
    var momentum = FusedOptimizerConfiguration(.sgd, weightDecay: 0.1)
    momentum.beta1 = 0.9
    for (settings, golden) in [
      (FusedOptimizerConfiguration(.adamW, weightDecay: 0.1), OptimizerGoldens.adamW),
      (momentum, OptimizerGoldens.sgdWithMomentum),
    ] {
      let parameters = [
        ("w", Parameter(Tensor(initial[0], shape: [3, 5]))), ("b", Parameter(Tensor(initial[1]))),
      ]
      let optimizer = try FusedOptimizer(parameters, settings)
      for step in 0..<12 {
        for (_, parameter) in parameters {
          parameter.value.gradient = parameter.value * parameter.value - 0.3
        }
        _ = clipGradients(parameters.map(\.1), maximumNorm: 1)
        optimizer.step(learningRate: 0.05 / Double(1 + step))
      }
      for ((_, parameter), values) in zip(parameters, golden) {
        expectClose(
          parameter.value, Tensor(values, shape: parameter.value.shape), absolute: 2e-7,
          relative: 1e-6)
      }
    }
  }
}
