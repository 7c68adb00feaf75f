import CKernels
import Layers
import Quantization
import Tensors
import TestSupport
import Testing

@Suite struct Int8ProductTests {
  /// x W^T + b by the definition, in float64.
  static func reference(_ x: RowCodes, _ weight: RowCodes, bias: Tensor?) -> Tensor {
    let (left, right) = (x.codes.to(.float64), weight.codes.to(.float64))
    let scales = x.scales.to(.float64).unsqueezed(1) * weight.scales.to(.float64)
    var y = left.matrixProduct(right.transposed()) * scales * (1 / (127.0 * 127))
    if let outliers = x.outliers {
      let columns = weight.dequantized(.float32).to(.float64).selecting(1, x.outlierColumns)
      y = y + outliers.to(.float64).matrixProduct(columns.transposed())
    }
    return bias.map { y + $0.to(.float64) } ?? y
  }

  @Test(arguments: [
    [1, 1, 1], [1, 64, 64], [2, 65, 130], [3, 200, 63], [4, 576, 1536], [5, 129, 100],
    [7, 31, 259], [13, 64, 7], [97, 70, 66], [200, 3, 33],
  ]) func equalsTheDefinition(_ shape: [Int]) {
    let (rows, outputs, depth) = (shape[0], shape[1], shape[2])
    let generator = Generator(seed: UInt64(depth))
    let x = Tensor.randomNormal([rows, depth], generator: generator) * 3.0
    let weight = RowCodes(
      quantizing: Tensor.randomNormal([outputs, depth], generator: generator))
    let bias = Tensor.randomNormal([outputs], generator: generator)
    for threshold in [0.0, 6] {
      var first: Tensor?
      withEachInstructionSet {
        let codes = RowCodes(quantizing: x, threshold: threshold)
        let y = codes.multiplied(by: weight, bias: bias)
        let expected = Self.reference(codes, weight, bias: bias)
        let largest = max(expected.absolute().max().item(), 20)
        expectClose(y.to(.float64), expected, absolute: 1e-6 * largest, relative: 2e-6)
        // The same to the last bit, whatever the processor.
        #expect(first.map { y.isEqual(to: $0) } ?? true)
        first = first ?? y
      }
    }
  }

  /// Sums as large as they get: no dot product saturates.
  @Test(arguments: [1, 9]) func largestSums(rows: Int) {
    let x = Tensor.full([rows, 4096], -1, dtype: .float32)
    let codes = Tensor.full([70, 4096], -127, dtype: .float32).to(.int8)
    let weight = RowCodes(
      codes: codes, scales: Tensor.full([70], 127, dtype: .float32), dtype: .float32)
    withEachInstructionSet {
      let y = RowCodes(quantizing: x).multiplied(by: weight)
      expectClose(y, Tensor.full([rows, 70], 4096 * 127, dtype: .float32), relative: 1e-6)
    }
  }

  @Test func rowsThatAreNotFinite() {
    var values = [Float](repeating: 1, count: 3 * 40)
    values[5] = .nan
    values[45] = .infinity
    let weight = RowCodes(
      quantizing: Tensor.randomNormal([9, 40], generator: Generator(seed: 3)))
    withEachInstructionSet {
      let y = RowCodes(quantizing: Tensor(values, shape: [3, 40])).multiplied(by: weight)
        .array(of: Float.self)
      #expect(y[0..<18].allSatisfy(\.isNaN) && y[18...].allSatisfy(\.isFinite))
    }
  }
}
