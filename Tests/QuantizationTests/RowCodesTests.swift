import CKernels
import Quantization
import Tensors
import TestSupport
import Testing

@Suite struct RowCodesTests {
  /// The example that bitsandbytes 0.50.2 was run on.
  @Test func outlierColumns() {
    let x = Tensor([1, 6, 2, -7, 0.5, 1, -6, 0] as [Float], shape: [2, 4])
    withEachInstructionSet {
      let codes = RowCodes(quantizing: x, threshold: 6)
      #expect(codes.outlierColumns.array(of: Int.self) == [1, 2, 3])
      #expect(codes.scales.array(of: Float.self) == [2, 1])
      #expect(codes.codes.array(of: Int8.self) == [64, 0, 0, 0, 64, 0, 0, 0])
      let all = RowCodes(quantizing: x)
      #expect(all.outlierColumns.count == 0)
      #expect(all.scales.array(of: Float.self) == [7, 6])
      #expect(all.codes.array(of: Int8.self) == [18, 109, 36, -127, 11, 21, -127, 0])
    }
  }

  /// Rounding to nearest, ties to even, in every type and for odd widths.
  @Test func exactCodes() {
    let x = Tensor.randomNormal([7, 1237], generator: Generator(seed: 2)) * 3.0
    for dtype in [DType.float32, .float16, .bfloat16] {
      let values = x.to(dtype).array(of: Float.self)
      for threshold in [Float(0), 6] {
        var expected: [Int8] = []
        var outliers: Set<Int> = []
        for row in 0..<7 {
          let numbers = values[row * 1237..<(row + 1) * 1237]
          let inside = numbers.filter { threshold == 0 || abs($0) < threshold }
          let factor = 127 * (1 / (inside.map(abs).max() ?? 0))
          for (column, number) in numbers.enumerated() {
            let isOut = threshold > 0 && abs(number) >= threshold
            if isOut { outliers.insert(column) }
            expected.append(isOut ? 0 : Int8((number * factor).rounded(.toNearestOrEven)))
          }
        }
        for row in 0..<7 { for column in outliers { expected[row * 1237 + column] = 0 } }
        withEachInstructionSet {
          let found = RowCodes(quantizing: x.to(dtype), threshold: Double(threshold))
          #expect(found.codes.array(of: Int8.self) == expected)
          #expect(found.outlierColumns.array(of: Int.self) == outliers.sorted())
          #expect(found.dequantized().dtype == dtype)
        }
        #expect(outliers.isEmpty == (threshold == 0))
      }
    }
    // Half a step of the largest magnitude, and half a unit of rounding the scale.
    let codes = RowCodes(quantizing: x)
    let error = (codes.dequantized() - x).absolute().largest(1).values.reshaped([-1])
    let bound = codes.scales * (0.5 / 127 * 1.0001)
    #expect((error .<= bound).to(.int64).sum().item() == 7)
  }

  /// Columns times their factors are what a product would give, rounded by every instruction set alike.
  @Test(arguments: [1, 15, 64, 67, 1237]) func columnFactors(columns: Int) {
    let x = Tensor.randomNormal([5, columns], generator: Generator(seed: 2))
    let factors = Tensor.randomNormal([columns], generator: Generator(seed: 3))
    let (values, numbers) = (x.array(of: Float.self), factors.array(of: Float.self))
    withEachInstructionSet {
      for threshold in [0, 1.5] {
        let expected = RowCodes(quantizing: x * factors, threshold: threshold)
        var codes = [Int8](repeating: 1, count: values.count)
        var (scales, marks) = (
          [Float](repeating: -1, count: 5), [UInt8](repeating: 0, count: columns)
        )
        graft_quantize_rows(
          values, Int32(GRAFT_FLOAT32), numbers, Int64(columns), Float(threshold), 0, 5, &codes,
          &scales, &marks)
        #expect(scales == expected.scales.array(of: Float.self))
        let places = marks.indices.filter { marks[$0] == 1 }
        #expect(places == expected.outlierColumns.array(of: Int.self))
        for row in 0..<5 { for column in places { codes[row * columns + column] = 0 } }
        #expect(codes == expected.codes.array(of: Int8.self))
      }
    }
  }

  @Test func oddRows() {
    let values: [Float] = [0, 0, 0, .nan, 1, 2, .infinity, 1, 2, 0, 0, 1]
    withEachInstructionSet {
      let codes = RowCodes(quantizing: Tensor(values, shape: [4, 3]))
      #expect(codes.codes.array(of: Int8.self).prefix(9) == [0, 0, 0, 0, 0, 0, 0, 0, 0])
      let scales = codes.scales.array(of: Float.self)
      #expect(scales[0] == 0 && scales[1].isNaN && scales[2] == .infinity)
      // An infinity is an outlier where there is a threshold.
      let some = RowCodes(quantizing: Tensor(values, shape: [4, 3]), threshold: 6)
      #expect(some.outlierColumns.array(of: Int.self) == [0])
      #expect(some.scales.array(of: Float.self)[2] == 2)
    }
  }
}
