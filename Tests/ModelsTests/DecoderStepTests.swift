import Foundation
import Layers
import Models
import Quantization
import Tensors
import TestSupport
import Testing

/// Steps by kernels score tokens as the single layers do, in every family.
@Suite struct DecoderStepTests {
  private static let fixtures = DecoderGoldenTests.fixtures

  /// Scores of some steps behind prompts, with tokens that are given.
  private func scores(
    _ model: DecoderForCausalLM, _ prompts: [[Int]], kernels: Bool, keeping kept: [Int]? = nil
  ) -> [Tensor] {
    model.model.usesStepKernels = kernels
    defer { model.model.usesStepKernels = true }
    var configuration = GenerationConfiguration()
    configuration.maximumNewTokens = 12
    return withoutGradients {
      let (input, state) = model.beginning(prompts, configuration)
      var found = [state.scores(after: input.ids)]
      var rows = prompts.count
      for step in 0..<9 {
        if step == 4, let kept {
          state.keep(rows: kept)
          rows = kept.count
        }
        let tokens = (0..<rows).map { (7 * step + 5 * $0 + 3) % 40 }
        found.append(state.scores(after: Tensor(tokens, shape: [rows, 1])))
      }
      return found
    }
  }

  private func expectSame(_ found: [Tensor], _ expected: [Tensor], _ name: String) {
    #expect(found.count == expected.count)
    for (step, (a, b)) in zip(found, expected).enumerated() {
      let size = b.absolute().array(of: Double.self).max() ?? 0
      let distance = (a - b).absolute().array(of: Double.self).max() ?? .nan
      #expect(distance <= 1e-5 * max(1, size), "\(name), step \(step)")
    }
  }

  @Test(arguments: DecoderGoldenTests.names) func scoresOfSteps(_ name: String) throws {
    let model = try AutoModelForCausalLM.fromPretrained("\(Self.fixtures)/\(name)")
    for prompts in [[[3, 9, 4, 11, 7]], [[3, 9, 4, 11, 7], [5, 6], [8]], [[4]]] {
      expectSame(
        scores(model, prompts, kernels: true), scores(model, prompts, kernels: false), name)
    }
    let prompts = [[3, 9, 4, 11, 7], [5, 6], [8]]
    expectSame(
      scores(model, prompts, kernels: true, keeping: [2, 0, 0, 1]),
      scores(model, prompts, kernels: false, keeping: [2, 0, 0, 1]), name)
  }

  /// Too many rows for the kernels go through the layers.
  @Test func manyRows() throws {
    let model = try AutoModelForCausalLM.fromPretrained("\(Self.fixtures)/llama")
    let prompts = (0..<FewRows.most + 1).map { [3, $0 % 40, 9] }
    let found = scores(model, prompts, kernels: true)
    let expected = scores(model, prompts, kernels: false)
    for (a, b) in zip(found.dropFirst(), expected.dropFirst()) { expectClose(a, b, absolute: 1e-5) }
  }

  @Test(arguments: [
    WeightFormat.int8(threshold: 6),
    .fourBit(.nf4, blockSize: 32, doubleQuantization: true),
  ]) func quantizedBases(_ format: WeightFormat) throws {
    let model = try AutoModelForCausalLM.fromPretrained(
      "\(Self.fixtures)/llama", quantization: QuantizationOptions(format))
    let prompts = [[3, 9, 4, 11, 7], [5, 6]]
    let found = scores(model, prompts, kernels: true)
    let expected = scores(model, prompts, kernels: false)
    // A last digit in front of a layer may change codes behind it.
    for (a, b) in zip(found, expected) { expectClose(a, b, absolute: 2e-2) }
    for row in 0..<2 {
      let steps = zip(found, expected).map { ($0.selected(0, row), $1.selected(0, row)) }
      #expect(steps.filter { !$0.isClose(to: $1) }.count <= 2, "\(format)")
    }
  }
}

extension Tensor {
  fileprivate func isClose(to other: Tensor) -> Bool {
    ((self - other).absolute().array(of: Double.self).max() ?? .nan) < 1e-5
  }
}
