import CKernels

extension CodedRows {
  /// Rounds rows to codes, to nearest, ties to even.
  ///
  /// - Parameters:
  ///   - x: float32 `[rows, columns]` with at least one column, contiguous, on the processor.
  ///   - columnFactors: What each column is multiplied with before, float32 `[columns]`; nil for nothing.
  ///   - needsSums: Whether they are the left factor of products.
  package init(rounding x: Tensor, columnFactors: Tensor? = nil, needsSums: Bool = true) {
    precondition(
      x.rank == 2 && x.dtype == .float32 && x.size(1) > 0 && x.isContiguous,
      "CodedRows: \(x.dtype)\(x.shape)")
    let codes = Tensor.empty(x.shape, dtype: .int8)
    let scales = Tensor.empty([x.size(0)], dtype: .float32)
    let columns = x.size(1)
    let factors = columnFactors.map { [$0.contiguous()] } ?? []
    forEachBlockRange(
      x.size(0), blockSize: columns, [x.detached(), codes, scales] + factors, name: "quantize_rows"
    ) {
      graft_quantize_rows(
        $0[0], Int32(GRAFT_FLOAT32), factors.isEmpty ? nil : $0.elements(3, Float.self),
        Int64(columns), 0, $1, $2, $0.elements(1, Int8.self), $0.elements(2, Float.self), nil)
    }
    self.init(codes: codes, scales: scales, sums: needsSums ? Self.sums(of: codes) : nil)
  }

  /// What the bytes' offset adds to every output of a row.
  ///
  /// - Parameter codes: int8 `[rows, depth]`, contiguous.
  /// - Returns: int32 `[rows]`; nil where no kernel reads it.
  package static func sums(of codes: Tensor) -> Tensor? {
    let (rows, depth) = (codes.size(0), codes.size(1))
    guard graft_has_int8_dot(), rows > 0, depth > 0 else { return nil }
    let sums = Tensor.empty([rows], dtype: .int32)
    forEachBlockRange(rows, blockSize: depth, [codes, sums], name: "int8_row_sums") {
      graft_int8_row_sums(
        $0.elements(0, Int8.self), Int64(depth), $1, $2, $0.elements(1, Int32.self))
    }
    return sums
  }

  /// The right factor of a product, and what is added to the whole numbers' sums.
  package struct Factor {
    /// int8 `[outputs, depth]`, or `[depth, outputs]` where it is transposed; contiguous.
    package var codes: Tensor
    /// Whether ``codes`` have a column for each output.
    package var isTransposed = false
    /// The largest magnitude of each output, float32 `[outputs]`; nil where the codes are the numbers.
    package var scales: Tensor?
    /// float32 `[outputs]`.
    package var bias: Tensor?
    /// Numbers of the rows that meet the codes of some columns of the depth: float32 `[rows, columns]`, and
    /// which columns, int64.
    package var outliers: (numbers: Tensor, columns: Tensor)?
    /// A product of low rank.
    package var term: NarrowTerm?

    /// Takes the codes of a right factor.
    package init(_ codes: Tensor, scales: Tensor? = nil, isTransposed: Bool = false) {
      self.codes = codes
      self.scales = scales
      self.isTransposed = isTransposed
    }

    /// Numbers of a row of the result.
    package var outputs: Int { codes.size(isTransposed ? 1 : 0) }
  }

  /// Multiplies whole numbers; scales and what is added are applied once to each sum, in float32.
  ///
  /// - Parameters:
  ///   - factor: The right factor and what is added.
  ///   - result: float32 `[rows, outputs]`, contiguous, with at least one element.
  ///   - adds: Whether the product is added to what is in it.
  package func multiply(by factor: Factor, into result: Tensor, adds: Bool = false) {
    let codes = codes.contiguous()
    let (rows, depth, outputs) = (codes.size(0), codes.size(1), factor.outputs)
    precondition(
      factor.codes.size(factor.isTransposed ? 0 : 1) == depth && depth > 0
        && result.shape == [rows, outputs] && result.dtype == .float32 && result.isContiguous,
      "CodedRows: \(codes.shape) by \(factor.codes.shape) into \(result.dtype)\(result.shape)")
    factor.term?.require(rows: rows, outputs: outputs)
    let (weight, scales) = (factor.codes.contiguous(), scales.contiguous())
    let (weightScales, bias) = (factor.scales?.contiguous(), factor.bias?.contiguous())
    let outliers = factor.outliers.map { ($0.numbers.contiguous(), columns: $0.columns) }
    let rowParts = partsOfRows(rows, panels: (outputs + 63) / 64)
    let sums = graft_has_int8_dot() ? sums ?? Self.sums(of: codes) : nil
    let product = graft_int8_product(
      x: codes.elements(), x_scale: scales.elements(), weight: weight.elements(),
      weight_scale: weightScales?.elements(), bias: bias?.elements(),
      outlier: outliers?.0.elements(), outlier_column: outliers?.columns.elements(),
      term: factor.term.forKernels, outlier_count: Int64(outliers?.columns.count ?? 0),
      rows: Int64(rows), outputs: Int64(outputs), depth: Int64(depth), row_parts: Int64(rowParts),
      x_sums: sums?.elements(), transposed: factor.isTransposed, adds: adds, y: result.elements())
    withUnsafePointer(to: product) { product in
      multiplyParts(
        product, count: graft_int8_parts(product), workspace: graft_int8_workspace(product),
        multiplications: rows * outputs * depth, perPart: rows / rowParts * 64 * depth,
        name: "int8_multiply", oneByOne: true
      ) { graft_int8_multiply($0, $1, $2, $3, $4) }
    }
    withExtendedLifetime((codes, sums, weight, scales, weightScales, bias, outliers, factor)) {}
  }
}
