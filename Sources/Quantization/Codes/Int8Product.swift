import CKernels
import Layers
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
    let x = codes.contiguous()
    let places = outliers == nil ? nil : outlierColumns
    let (weight, xScales, weightScales) = (
      weight.contiguous(), scales.contiguous(), weightScales?.contiguous()
    )
    let (bias, outliers) = (
      bias?.detached().to(.float32).contiguous(), outliers?.contiguous()
    )
    let rowParts = partsOfRows(rows, panels: (outputs + 63) / 64)
    let sums = sums ?? Self.sums(of: x)
    let product = graft_int8_product(
      x: x.elements(), x_scale: xScales.elements(), weight: weight.elements(),
      weight_scale: weightScales?.elements(), bias: bias?.elements(),
      outlier: outliers?.elements(), outlier_column: places?.elements(),
      term: term.forKernels, outlier_count: Int64(places?.count ?? 0),
      rows: Int64(rows), outputs: Int64(outputs), depth: Int64(depth), row_parts: Int64(rowParts),
      x_sums: sums?.elements(), transposed: isTransposed, adds: adds, y: result.elements())
    withUnsafePointer(to: product) { product in
      multiplyParts(
        product, count: graft_int8_parts(product), workspace: graft_int8_workspace(product),
        multiplications: rows * outputs * depth, perPart: rows / rowParts * 64 * depth,
        name: "int8_multiply", oneByOne: true
      ) { graft_int8_multiply($0, $1, $2, $3, $4) }
    }
    withExtendedLifetime(
      (
        x, sums, weight, xScales, weightScales, bias, outliers, places, term?.rows, term?.factor,
        result
      )
    ) {}
    return result
  }

  /// What the bytes' offset adds to every output of a row, int32 `[rows]`, of contiguous codes; nil where no
  /// kernel reads it.
  static func sums(of codes: Tensor) -> Tensor? {
    let (rows, depth) = (codes.size(0), codes.size(1))
    guard graft_has_int8_dot(), rows > 0, depth > 0 else { return nil }
    let sums = Tensor.empty([rows], dtype: .int32)
    forEachBlockRange(rows, blockSize: depth, [codes, sums], name: "int8_row_sums") {
      graft_int8_row_sums(
        $0.elements(0, Int8.self), Int64(depth), $1, $2, $0.elements(1, Int32.self))
    }
    return sums
  }
}
