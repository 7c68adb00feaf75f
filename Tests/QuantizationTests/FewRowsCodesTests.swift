import Layers
import Quantization
import Tensors
import TestSupport
import Testing

/// Quantised layers give few rows the numbers that they give as layers.
@Suite struct FewRowsCodesTests {
  private func outputs(_ layer: any LinearProjection, _ x: Tensor) -> Tensor? {
    guard let group = FewRowsGroup([Linear(layer), Linear(layer)]) else { return nil }
    let results = (0..<2).map { _ in
      Tensor.full([x.size(0), layer.outputSize], .nan, dtype: .float32)
    }
    group(
      FewRows(x.elements(), count: x.size(0), size: x.size(1)),
      into: results.map { $0.elements() })
    #expect(results[0].isEqual(to: results[1]))
    return results[0]
  }

  @Test(arguments: [(1, 40, 64), (3, 130, 96), (8, 65, 70), (16, 7, 200)])
  func int8(_ rows: Int, _ outputSize: Int, _ depth: Int) throws {
    let generator = Generator(seed: UInt64(depth))
    let weight = Tensor.randomNormal([outputSize, depth], generator: generator)
    let x = Tensor.randomNormal([rows, depth], generator: generator)
    let bias = Parameter(Tensor.randomNormal([outputSize], generator: generator))
    // Without outliers, and with some columns of them.
    for threshold in [0, 6, 1.5] {
      let layer = Linear8bit(quantizing: weight, bias: bias, threshold: threshold)
      try withEachInstructionSet {
        let found = try #require(outputs(layer, x))
        #expect(found.isEqual(to: layer(x)), "threshold \(threshold)")
      }
    }
  }

  @Test(arguments: [(1, 40, 64), (5, 33, 96), (8, 65, 70), (16, 7, 200)])
  func fourBits(_ rows: Int, _ outputSize: Int, _ depth: Int) throws {
    let generator = Generator(seed: UInt64(depth))
    let weight = Tensor.randomNormal([outputSize, depth], generator: generator)
    let x = Tensor.randomNormal([rows, depth], generator: generator)
    let bias = Parameter(Tensor.randomNormal([outputSize], generator: generator))
    for type in FourBitType.allCases {
      for nested in [false, true] {
        let layer = Linear4bit(
          quantizing: weight, bias: bias, type: type, doubleQuantization: nested)
        try withEachInstructionSet {
          let found = try #require(outputs(layer, x))
          #expect(found.isEqual(to: layer(x)), "\(type) \(nested)")
        }
      }
    }
  }
}
