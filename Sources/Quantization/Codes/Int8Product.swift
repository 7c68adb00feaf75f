public import Tensors

extension RowCodes {
  /// x W^T + b for two matrices in row codes, with x's outlier columns in float32.
  ///
  /// The whole numbers' sums are exact; scales, bias and outliers are applied to each sum once, in
  /// float32, before it is written.
  ///
  /// - Parameters:
  ///   - weight: W, `[outputs, columns]`.
  ///   - bias: float32 `[outputs]`, or nil.
  /// - Returns: float32 `[rows, outputs]`.
  /// - Note: Source: Dettmers et al. 2022, arXiv 2208.07339, equation 8. Outlier columns meet W's
  ///   codes as numbers, as in bitsandbytes, not a copy of W in full precision.
  public func multiplied(by weight: RowCodes, bias: Tensor? = nil) -> Tensor {
    multiplied(by: weight, bias: bias, adding: nil)
  }

  /// The same and a product of low rank, in a new tensor or in `memory`.
  func multiplied(
    by weight: RowCodes, bias: Tensor?, adding term: NarrowTerm?, into memory: Tensor? = nil
  ) -> Tensor {
    precondition(
      codes.size(1) == weight.codes.size(1),
      "multiplied: \(codes.shape) by the rows of \(weight.codes.shape)")
    return product(
      weight.codes, scales: weight.scales, outputs: weight.codes.size(0), bias: bias, term: term,
      isTransposed: false, into: memory)
  }

  /// x W for x in row codes and the bare codes of W: every scale is 1.
  ///
  /// - Parameters:
  ///   - codes: int8 `[columns, outputs]`.
  ///   - term: A product of low rank that is added; nil for none.
  ///   - sum: float32 `[rows, outputs]`, contiguous, which the result is added to; nil for none.
  /// - Returns: float32 `[rows, outputs]`, the sum itself where there is one.
  func multiplied(
    byColumnsOf codes: Tensor, adding term: NarrowTerm? = nil, to sum: Tensor? = nil
  ) -> Tensor {
    product(
      codes, scales: nil, outputs: codes.size(1), bias: nil, term: term, isTransposed: true,
      into: sum, adds: sum != nil)
  }

  private func product(
    _ weight: Tensor, scales weightScales: Tensor?, outputs: Int, bias: Tensor?,
    term: NarrowTerm?, isTransposed: Bool, into memory: Tensor?, adds: Bool = false
  ) -> Tensor {
    let (rows, depth) = (codes.size(0), codes.size(1))
    let result = memory ?? Tensor.empty([rows, outputs], dtype: .float32)
    precondition(
      result.shape == [rows, outputs] && result.dtype == .float32,
      "multiplied: into \(result.dtype)\(result.shape)")
    term?.require(rows: rows, outputs: outputs)
    guard rows > 0, outputs > 0 else { return result }
    guard depth > 0 else {
      let own = (adds ? result : result.fillInPlace(0)).addInPlace(
        term?.product() ?? Tensor([Float(0)]))
      return bias.map { own + $0.detached() } ?? own
    }
    var factor = CodedRows.Factor(weight, scales: weightScales, isTransposed: isTransposed)
    factor.bias = bias?.detached().to(.float32)
    factor.outliers = outliers.map { ($0, outlierColumns) }
    factor.term = term
    CodedRows(codes: codes, scales: scales, sums: sums)
      .multiply(by: factor, into: result, adds: adds)
    return result
  }
}
