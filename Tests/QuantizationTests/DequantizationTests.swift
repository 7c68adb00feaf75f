import CKernels
import Quantization
import Tensors
import TestSupport
import Testing

@Suite struct DequantizationTests {
  private func normal(_ shape: [Int]) -> Tensor {
    Tensor.randomNormal(shape, generator: Generator(seed: 12))
  }

  /// Code times magnitude in float32, rounded once, for every type and odd sizes.
  @Test func numbersOfCodes() {
    let x = normal([3, 1111])
    for dtype in [DType.float32, .float16, .bfloat16] {
      withEachInstructionSet {
        let eight = BlockwiseCodes(quantizing: x.to(dtype), blockSize: 96)
        #expect(eight.dequantized().dtype == dtype && eight.codes.shape == [3, 1111])
        let (codes, scales) = (
          eight.codes.array(of: UInt8.self), eight.scales.values.array(of: Float.self)
        )
        let expected = codes.enumerated().map { CodeMap.dynamic.values[Int($1)] * scales[$0 / 96] }
        let wanted = Tensor(expected, shape: [3, 1111]).to(dtype)
        #expect(eight.dequantized().isEqual(to: wanted))

        for type in FourBitType.allCases {
          let four = FourBitCodes(quantizing: x.to(dtype), type: type)
          #expect(four.bytes.shape == [1667, 1])
          let nibbles = four.bytes.array(of: UInt8.self).flatMap { [$0 >> 4, $0 & 15] }
          let scales = four.scales.values.array(of: Float.self)
          let numbers = nibbles.prefix(3333).enumerated().map {
            type.values[Int($1)] * scales[$0 / 64]
          }
          #expect(four.dequantized().isEqual(to: Tensor(numbers, shape: [3, 1111]).to(dtype)))
        }
      }
    }
  }

  /// Mean errors on normal numbers, as the reference measures them.
  @Test func errors() {
    let x = normal([1024, 1024])
    func error(_ y: Tensor) -> Double { (y - x).absolute().mean().item() }
    let eight = error(BlockwiseCodes(quantizing: x, blockSize: 256).dequantized())
    #expect(abs(eight - 0.00853) < 0.0001, "\(eight)")
    for (type, blockSize, mean) in [
      (FourBitType.nf4, 64, 0.072798), (.nf4, 32, 0.067746), (.nf4, 4096, 0.092547),
      (.fp4, 64, 0.096543), (.fp4, 1024, 0.119333),
    ] {
      let found = error(FourBitCodes(quantizing: x, type: type, blockSize: blockSize).dequantized())
      #expect(abs(found - mean) < 0.01 * mean, "\(type) \(blockSize): \(found)")
    }
    let nested = FourBitCodes(quantizing: x, doubleQuantization: true)
    #expect(error(nested.dequantized()) < 0.0740)
    // 0.5 bits a number for magnitudes, 0.127 when they are quantised.
    let plain = FourBitCodes(quantizing: x)
    #expect(plain.byteCount * 8 == (1 << 20) * 4 + (1 << 20) / 2)
    #expect(Double(nested.byteCount - nested.bytes.byteCount) * 8 / Double(1 << 20) < 0.128)
    #expect(
      error(BlockwiseCodes(quantizing: x, blockSize: 256, nested: true).dequantized()) < 0.011)
  }

  @Test func zeroStaysZero() {
    let values: [Float] = [0, 1e-9, -1e-9, -0.0, 0.5, 0, 0, 0]
    withEachInstructionSet {
      let some = BlockwiseCodes(quantizing: Tensor(values), blockSize: 4)
      let numbers = some.dequantized().array(of: Float.self)
      #expect([0, 3, 5, 6, 7].filter { numbers[$0] != 0 } == [])
      #expect(some.scales.values.array(of: Float.self) == [1e-9, 0.5])
      let unsigned = BlockwiseCodes(
        quantizing: Tensor([0, 2e-6, 1] as [Float]), map: .dynamicUnsigned)
      #expect(unsigned.dequantized().array(of: Float.self)[0] == 0)
      let none = Tensor.zeros([130])
      #expect(BlockwiseCodes(quantizing: none, blockSize: 64).dequantized().isEqual(to: none))
      for type in FourBitType.allCases {
        let four = FourBitCodes(quantizing: none, type: type)
        #expect(four.dequantized().absolute().max().item() == 0)
        #expect(Set(four.bytes.array(of: UInt8.self)) == [type == .nf4 ? 0x77 : 0x00])
      }
    }
  }

  @Test func notANumberAndInfinity() {
    let values: [Float] = [1, .nan, 2, 3] + [1, .infinity, -.infinity, 3] + [1, 2, 3, 4]
    withEachInstructionSet {
      let numbers = BlockwiseCodes(quantizing: Tensor(values), blockSize: 4).dequantized()
        .array(of: Float.self)
      #expect(numbers.prefix(4).count(where: \.isNaN) == 4)
      #expect(numbers[5] == .infinity && numbers[6] == -.infinity)
      #expect(numbers[4].isNaN && numbers[7].isNaN)
      #expect(numbers[11] == 4 && numbers.suffix(4).count(where: \.isFinite) == 4)
      let many =
        Array(repeating: Float(1), count: 31) + [.nan] + Array(repeating: Float(2), count: 32)
      for type in FourBitType.allCases {
        let four = FourBitCodes(quantizing: Tensor(many), type: type, blockSize: 32).dequantized()
          .array(of: Float.self)
        #expect(four.prefix(32).count(where: \.isNaN) == 32)
        #expect(Array(four.suffix(32)) == Array(repeating: 2, count: 32))
      }
    }
  }

  /// Magnitudes so small that their reciprocal is infinite.
  @Test func tinyNumbers() {
    let (large, small) = (Float(bitPattern: 700), Float(bitPattern: 350))
    withEachInstructionSet {
      let numbers = BlockwiseCodes(quantizing: Tensor([large, -large, small, 0]), blockSize: 4)
        .dequantized().array(of: Float.self)
      #expect(numbers[0] == large && numbers[1] < 0 && numbers[3] == 0)
      #expect(abs(numbers[2] / large - 0.5) < 0.01)
    }
  }
}
