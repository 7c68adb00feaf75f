import CKernels

/// One pass over the rows of a matrix x for everything that low rank needs of it, by a kernel.
///
/// A gradient of a layer's output is read for what passes back through B, for the gradient of B, and to be
/// rounded; more often than once from memory, that costs as much as the arithmetic. No bit of a result
/// depends on strides, on the other rows and columns, or on how the work is split.
package struct RowPass {
  /// Some columns of a float32 matrix `[N, width]`.
  package struct Columns {
    /// Contiguous.
    package let matrix: Tensor
    /// Which.
    package let range: Range<Int>

    /// Makes a description; of the whole matrix where there is no range.
    package init(_ matrix: Tensor, _ range: Range<Int>? = nil) {
      self.matrix = matrix
      self.range = range ?? 0..<matrix.size(1)
    }

    /// These columns alone, of the matrix's memory.
    package var tensor: Tensor {
      range == 0..<matrix.size(1) ? matrix : matrix.narrowed(1, range)
    }

    fileprivate func require(rows: Int) {
      precondition(
        matrix.dtype == .float32 && matrix.rank == 2 && matrix.isContiguous
          && matrix.size(0) == rows && range.lowerBound >= 0 && !range.isEmpty
          && range.upperBound <= matrix.size(1),
        "RowPass: \(range) of \(matrix.dtype)\(matrix.shape) beside \(rows) rows")
    }

    var first: UnsafeMutablePointer<Float> {
      matrix.elements(Float.self) + range.lowerBound
    }
  }

  /// A sum over rows, s l^T x.
  package struct Sum {
    /// l, `[N, rank]`.
    package let left: Columns
    /// s.
    package let scale: Double
    /// Whether the result is `[columns, rank]` instead of `[rank, columns]`.
    package let isTransposed: Bool

    /// Makes a description.
    package init(left: Columns, scale: Double = 1, isTransposed: Bool = false) {
      self.left = left
      self.scale = scale
      self.isTransposed = isTransposed
    }
  }

  /// Rows of a narrow matrix up to which a pass is faster than products of matrices.
  package static let largestRank = 64

  let rows: RowSource
  private(set) var factor: (packed: Tensor, target: Columns)?
  private(set) var sum: Sum?
  private(set) var rounding: (columnFactors: Tensor, coded: CodedRows)?

  /// Whether the processor has the kernel and ``Runtime/usesFastProducts`` is on.
  package static var isAvailable: Bool { Runtime.usesFastProducts && graft_has_row_pass() }

  /// Begins a pass; nil where there is none, or not for such rows.
  ///
  /// - Parameter rows: x, `[N, columns]`; copied if it is not contiguous.
  package init?(_ rows: Tensor) {
    guard rows.rank == 2 else { return nil }
    self.init(RowSource(rows))
  }

  /// The same over rows that may be computed as they are read.
  package init?(_ rows: RowSource) {
    guard Self.isAvailable, rows.count > 0, rows.columns > 0,
      rows.stored.map({ $0.dtype == .float32 && $0.device.kind == .cpu }) ?? true
    else { return nil }
    self.rows = rows.stored.map { RowSource($0.contiguous()) } ?? rows
  }

  /// Whether the narrow matrix of a product or a sum is one that passes are for.
  package static func takes(rank: Int) -> Bool { (1...largestRank).contains(rank) }

  /// Adds x (s F)^T to what is computed.
  ///
  /// - Parameters:
  ///   - factor: F, float32 `[rank, columns]`, of any strides.
  ///   - scale: s.
  ///   - target: Where the products `[N, rank]` are written to.
  package mutating func multiply(by factor: Tensor, scale: Double = 1, into target: Columns) {
    let (rank, columns) = (factor.size(0), factor.size(1))
    target.require(rows: rows.count)
    precondition(
      factor.dtype == .float32 && factor.device.kind == .cpu && columns == rows.columns
        && target.range.count == rank,
      "RowPass: \(rows.columns) columns by \(factor.dtype)\(factor.shape) into \(target.range)")
    // One of the two directions has its numbers side by side.
    let lies = factor.strides[1] == 1 || factor.strides[0] == 1
    let source = lies ? factor.detached() : factor.detached().contiguous()
    let strides = source.strides
    let packed = Tensor.empty(
      [rank, Int(graft_row_pass_stride(Int64(columns)))], dtype: .float32)
    graft_pack_factor(
      source.firstElement(), Int64(strides[0]), Int64(strides[1]), Int64(columns), Int64(rank),
      Float(scale), packed.elements())
    withExtendedLifetime(source) {}
    self.factor = (packed, target)
  }

  /// Adds a sum over rows to what is computed.
  package mutating func add(_ sum: Sum) {
    sum.left.require(rows: rows.count)
    self.sum = sum
  }

  /// Adds the rows in codes to what is computed, each column times a factor.
  ///
  /// - Parameter columnFactors: float32 `[columns]`.
  package mutating func round(columnFactors: Tensor) {
    let (count, columns) = (rows.count, rows.columns)
    precondition(
      columnFactors.dtype == .float32 && columnFactors.shape == [columns],
      "RowPass: \(columns) columns with factors \(columnFactors.shape)")
    rounding = (
      columnFactors.contiguous(),
      CodedRows(
        codes: Tensor.empty([count, columns], dtype: .int8),
        scales: Tensor.empty([count], dtype: .float32),
        sums: Tensor.empty([count], dtype: .int32))
    )
  }
}
