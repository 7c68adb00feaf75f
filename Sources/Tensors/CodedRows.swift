/// Rows of a matrix in whole numbers of 8 bits, each over its own largest magnitude, as kernels hand them on.
package struct CodedRows {
  /// The whole numbers, int8 `[rows, columns]`.
  package let codes: Tensor
  /// The largest magnitude of each row, float32 `[rows]`.
  package let scales: Tensor
  /// 128 times the sum of each row's codes, int32 `[rows]`; nil where it was not asked for.
  package let sums: Tensor?

  /// Takes what was computed; contiguous tensors on the processor.
  package init(codes: Tensor, scales: Tensor, sums: Tensor?) {
    (self.codes, self.scales, self.sums) = (codes, scales, sums)
  }
}
