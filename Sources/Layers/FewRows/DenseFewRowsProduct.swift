import CKernels
package import Tensors

/// x W^T + b for few rows and a float32 matrix.
///
/// Libraries pack the matrix for each product, which takes longer than the product of few rows.
package struct DenseFewRowsProduct: FewRowsProduct {
  private let weight: Tensor
  private let bias: Tensor?
  package let inputSize: Int
  package let outputSize: Int

  /// Nil where weight or bias are not in float32 on the processor.
  ///
  /// - Parameters:
  ///   - weight: W, `[outputSize, inputSize]`.
  ///   - bias: b, `[outputSize]`, or nil.
  package init?(weight: Tensor, bias: Tensor? = nil) {
    for tensor in [weight] + (bias.map { [$0] } ?? []) {
      guard tensor.dtype == .float32, tensor.device.kind == .cpu, tensor.isContiguous else {
        return nil
      }
    }
    guard weight.rank == 2, weight.count > 0 else { return nil }
    self.weight = weight
    self.bias = bias
    (outputSize, inputSize) = (weight.size(0), weight.size(1))
  }

  package func job(
    _ rows: FewRows, into result: UnsafeMutablePointer<Float>
  ) -> (Range<Int>) -> Void {
    let (weight, bias) = (weight, bias)
    let product = graft_row_product(
      x: rows.values, weight: weight.elements(), bias: bias?.elements(), rows: Int64(rows.count),
      outputs: Int64(outputSize), depth: Int64(inputSize), y: result)
    return { range in
      withUnsafePointer(to: product) {
        graft_multiply_few_rows($0, Int64(range.lowerBound), Int64(range.upperBound))
      }
      withExtendedLifetime((weight, bias)) {}
    }
  }
}

extension DenseProjection: FewRowsProjection {
  package var fewRowsProduct: (any FewRowsProduct)? {
    DenseFewRowsProduct(weight: weight.value.detached(), bias: bias?.value.detached())
  }
}

extension DenseProjection {
  /// y = x W^T + b for few rows where ``FewRows/arePreferred``; nil where it is not, or cannot be.
  func fewRowsOutput(_ x: Tensor) -> Tensor? {
    guard FewRows.arePreferred, !isRecordingGradients, x.dtype == .float32, x.device.kind == .cpu,
      x.count > 0, x.count <= FewRows.most * inputSize, let product = fewRowsProduct
    else { return nil }
    let input = x.contiguous()
    let rows = FewRows(input.elements(), count: x.count / inputSize, size: inputSize)
    let result = Tensor.empty(x.shape.dropLast() + [outputSize], dtype: .float32)
    FewRowsWork([(product.job(rows, into: result.elements()), outputSize)]).run(depth: inputSize)
    withExtendedLifetime((input, result)) {}
    return result
  }
}
