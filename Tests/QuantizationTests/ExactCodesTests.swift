import CKernels
import Quantization
import Tensors
import TestSupport
import Testing

/// Codes equal an exact search for the nearest number, whatever the instruction set.
///
/// The searches here compare in float64, in which the midpoint of two neighbouring numbers is exact.
@Suite struct ExactCodesTests {
  private func nearest(_ x: Float, _ values: [Float]) -> UInt8 {
    var (low, high) = (0, values.count - 1)
    while low < high {
      let middle = (low + high) / 2
      let border = (Double(values[middle]) + Double(values[middle + 1])) / 2
      if Double(x) > border { low = middle + 1 } else { high = middle }
    }
    return UInt8(low)
  }

  /// Sorted magnitudes, then the nibble; as in bitsandbytes' table.
  private func nearestFP4(_ x: Float) -> UInt8 {
    let values = FourBitType.fp4.values
    let order = (0..<8).sorted { values[$0] < values[$1] }
    let place = nearest(abs(x), order.map { values[$0] })
    return UInt8(order[Int(place)]) | (x < 0 ? 8 : 0)
  }

  /// All finite numbers of float16, each with a 1 in its block.
  private static let allHalves: [Float] = (0..<UInt16.max).map { Float(Float16(bitPattern: $0)) }
    .filter { abs($0) <= 1 }

  /// Random numbers over all decades that matter, and the numbers about every border.
  private static let randoms: [Float] = {
    var generator = SystemRandomNumberGenerator()
    var numbers = (0..<200_000).map { index -> Float in
      let magnitude = Float.random(in: 0.5...1, using: &generator)
      return (index % 2 == 0 ? magnitude : -magnitude)
        * Float(sign: .plus, exponent: -Int.random(in: 0...26, using: &generator), significand: 1)
    }
    for values in [
      CodeMap.dynamic.values, CodeMap.dynamicUnsigned.values, CodeMap.linear.values,
      FourBitType.nf4.values, FourBitType.fp4.values,
    ] {
      for (a, b) in zip(values, values.dropFirst()) {
        let middle = Float((Double(a) + Double(b)) / 2)
        numbers += [middle, middle.nextUp, middle.nextDown, a, -a, -middle]
      }
    }
    return numbers.filter { abs($0) <= 1 }
  }()

  /// A 1 first in every block of 64: then nothing is scaled.
  private func blocks(_ numbers: [Float]) -> [Float] {
    var result: [Float] = []
    for start in stride(from: 0, to: numbers.count, by: 63) {
      result.append(1)
      result += numbers[start..<min(start + 63, numbers.count)]
    }
    return result
  }

  @Test(arguments: [CodeMap.dynamic, CodeMap.dynamicUnsigned, CodeMap.linear])
  func eightBits(_ map: CodeMap) {
    for numbers in [Self.allHalves, Self.randoms].map(blocks) {
      let expected = numbers.map { nearest($0, map.values) }
      withEachInstructionSet { set in
        let found = BlockwiseCodes(quantizing: Tensor(numbers), map: map, blockSize: 64)
        let wrong = zip(found.codes.array(of: UInt8.self), expected).enumerated()
          .first { map.values[Int($1.0)] != map.values[Int($1.1)] }
        #expect(
          wrong == nil,
          "set \(set): \(wrong.map { numbers[$0.offset] } ?? 0) got \(String(describing: wrong))")
      }
    }
  }

  @Test func fourBits() {
    for numbers in [Self.allHalves, Self.randoms].map(blocks) {
      let normal = numbers.map { nearest($0, FourBitType.nf4.values) }
      let float = numbers.map(nearestFP4)
      withEachInstructionSet { set in
        for (type, expected, padding) in [(FourBitType.nf4, normal, UInt8(7)), (.fp4, float, 0)] {
          let bytes = FourBitCodes(quantizing: Tensor(numbers), type: type).bytes
            .array(of: UInt8.self)
          let codes = bytes.flatMap { [$0 >> 4, $0 & 15] }
          let wanted = expected + (expected.count % 2 == 1 ? [padding] : [])
          let wrong = zip(codes, wanted).enumerated().first { $1.0 != $1.1 }
          #expect(wrong == nil, "\(type), set \(set): \(wrong.map { numbers[$0.offset] } ?? 0)")
        }
      }
    }
  }

  /// Random numbers of any size: x (1/m) is rounded to float32 before the search.
  @Test func scaledBlocks() {
    var generator = SystemRandomNumberGenerator()
    let numbers = (0..<50_003).map { _ in Float.random(in: -300...300, using: &generator) }
    for blockSize in [32, 100, 256, 4096] {
      let expected = numbers.indices.map { index -> UInt8 in
        let start = index / blockSize * blockSize
        let block = numbers[start..<min(start + blockSize, numbers.count)]
        let factor = 1 / (block.map(abs).max() ?? 0)
        return nearest(min(1, max(-1, numbers[index] * factor)), CodeMap.dynamic.values)
      }
      withEachInstructionSet { set in
        let found = BlockwiseCodes(quantizing: Tensor(numbers), blockSize: blockSize)
        #expect(found.codes.array(of: UInt8.self) == expected, "set \(set), block \(blockSize)")
      }
    }
  }
}
