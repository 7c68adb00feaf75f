import Layers
import Quantization
import Tensors
import TestSupport
import Testing

@Suite struct FourBitProductTests {
  @Test(arguments: [
    (1, 3, 64, 64), (2, 5, 128, 32), (5, 7, 192, 64), (9, 3, 100, 64), (3, 9, 63, 32),
    (4, 2, 96, 64), (1, 4, 33, 128), (16, 20, 256, 256),
  ]) func fewRowsEqualTheDecodedProduct(_ rows: Int, _ outputs: Int, _ depth: Int, _ block: Int) {
    let generator = Generator(seed: UInt64(depth))
    let weight = Tensor.randomNormal([outputs, depth], generator: generator)
    let x = Tensor.randomNormal([rows, depth], generator: generator)
    let bias = Tensor.randomNormal([outputs], generator: generator)
    for type in FourBitType.allCases {
      for nested in [false, true] {
        let codes = FourBitCodes(
          quantizing: weight, type: type, blockSize: block, doubleQuantization: nested)
        let layer = Linear4bit(weight: codes, bias: Parameter(bias))
        let expected = x.to(.float64).linear(
          codes.dequantized().to(.float64), bias: bias.to(.float64))
        withEachInstructionSet {
          expectClose(layer(x).to(.float64), expected, absolute: 1e-5, relative: 1e-5)
        }
      }
    }
  }
}
