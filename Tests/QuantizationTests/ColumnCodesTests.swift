import Quantization
import Tensors
import TestSupport
import Testing

@Suite struct ColumnCodesTests {
  /// Columns are the rows of the transposed matrix.
  @Test func columnsAreTransposedRows() {
    let x = Tensor.randomNormal([37, 53], generator: Generator(seed: 8)) * 3.0
    for dtype in [DType.float32, .float16, .bfloat16] {
      let columns = ColumnCodes(quantizing: x.to(dtype))
      let rows = RowCodes(quantizing: x.to(dtype).transposed().contiguous())
      #expect(columns.codes.transposed().isEqual(to: rows.codes))
      #expect(columns.scales.isEqual(to: rows.scales))
      #expect(columns.dequantized().transposed().isEqual(to: rows.dequantized()))
    }
  }

  @Test func outliersCountForNoScale() {
    let x = Tensor([1, 6, 2, -7, 0.5, 1, -6, 0] as [Float], shape: [2, 4])
    let codes = ColumnCodes(quantizing: x, threshold: 6)
    #expect(codes.outlierColumns.array(of: Int.self) == [1, 2, 3])
    #expect(codes.scales.array(of: Float.self) == [1, 1, 2, 0])
    #expect(codes.codes.array(of: Int8.self) == [127, 0, 127, 0, 64, 127, 0, 0])
  }

  @Test func oddColumns() {
    let x = Tensor([0, .nan, .infinity, 2, 0, 1, 1, -1] as [Float], shape: [2, 4])
    let codes = ColumnCodes(quantizing: x)
    let scales = codes.scales.array(of: Float.self)
    #expect(scales[0] == 0 && scales[1].isNaN && scales[2] == .infinity && scales[3] == 2)
    #expect(codes.codes.array(of: Int8.self) == [0, 0, 0, 127, 0, 0, 0, -64])
  }
}
