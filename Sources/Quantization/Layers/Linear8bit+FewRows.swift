import CKernels
package import Layers
import Tensors

extension Linear8bit: FewRowsProjection {
  /// The same numbers as those of the layer.
  package var fewRowsProduct: (any FewRowsProduct)? {
    let tensors = [weight.codes, weight.scales] + (bias.map { [$0.value] } ?? [])
    guard tensors.allSatisfy({ $0.device.kind == .cpu && $0.isContiguous }),
      weight.codes.count > 0, dtype == .float32
    else { return nil }
    return Int8FewRowsProduct(
      codes: weight.codes, scales: weight.scales, bias: bias?.value.detached().to(.float32),
      threshold: Float(threshold))
  }
}

/// The product of few rows with a matrix in row codes.
private struct Int8FewRowsProduct: FewRowsProduct {
  let codes: Tensor
  let scales: Tensor
  let bias: Tensor?
  let threshold: Float
  var inputSize: Int { codes.size(1) }
  var outputSize: Int { codes.size(0) }

  func job(
    _ rows: FewRows, into result: UnsafeMutablePointer<Float>
  ) -> (Range<Int>) -> Void {
    let x = rows.form(where: { $0.threshold == threshold }) {
      FewRowCodes(rows, threshold: threshold)
    }
    let weight = self
    let product = graft_int8_product(
      x: x.codes, x_scale: x.scales, weight: codes.elements(), weight_scale: scales.elements(),
      bias: bias?.elements(), outlier: x.outliers, outlier_column: x.outlierColumns,
      term: NarrowTerm?.none.forKernels, outlier_count: Int64(x.outlierCount),
      rows: Int64(rows.count), outputs: Int64(outputSize), depth: Int64(inputSize), row_parts: 1,
      x_sums: nil, transposed: false, adds: false, y: result)
    let room = withUnsafePointer(to: product) { Int(graft_int8_few_rows_workspace($0)) }
    return { range in
      withUnsafeTemporaryAllocation(byteCount: room, alignment: 64) { workspace in
        guard let memory = workspace.baseAddress else { return }
        withUnsafePointer(to: product) {
          graft_int8_multiply_few_rows(
            $0, Int64(range.lowerBound), Int64(range.upperBound), memory)
        }
      }
      withExtendedLifetime((weight, x)) {}
    }
  }
}

/// Few rows in whole numbers of 8 bits, with their outlier columns, as ``RowCodes`` makes them.
private final class FewRowCodes {
  let threshold: Float
  let codes: UnsafeMutablePointer<Int8>
  let scales: UnsafeMutablePointer<Float>
  private(set) var outlierColumns: UnsafeMutablePointer<Int64>?
  private(set) var outliers: UnsafeMutablePointer<Float>?
  private(set) var outlierCount = 0

  init(_ rows: FewRows, threshold: Float) {
    self.threshold = threshold
    codes = .allocate(capacity: rows.count * rows.size)
    scales = .allocate(capacity: rows.count)
    let (columns, count) = (Int64(rows.size), Int64(rows.count))
    let type = Int32(GRAFT_FLOAT32)
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: rows.size) { marks in
      marks.initialize(repeating: 0)
      graft_quantize_rows(
        rows.values, type, nil, columns, threshold, 0, count, codes, scales, marks.baseAddress)
      guard threshold > 0 else { return }
      for mark in marks { outlierCount += Int(mark) }
      guard outlierCount > 0 else { return }
      let places = UnsafeMutablePointer<Int64>.allocate(capacity: outlierCount)
      let numbers = UnsafeMutablePointer<Float>.allocate(capacity: outlierCount * rows.count)
      var next = 0
      for column in marks.indices where marks[column] != 0 {
        places[next] = Int64(column)
        next += 1
      }
      graft_take_columns(
        rows.values, type, columns, places, Int64(outlierCount), 0, count, codes, numbers)
      (outlierColumns, outliers) = (places, numbers)
    }
  }

  deinit {
    codes.deallocate()
    scales.deallocate()
    outlierColumns?.deallocate()
    outliers?.deallocate()
  }
}
