import CKernels
import Synchronization

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

    fileprivate var first: UnsafeMutablePointer<Float> {
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

  private let rows: RowSource
  private var factor: (packed: Tensor, target: Columns)?
  private var sum: Sum?
  private var rounding: (columnFactors: Tensor, coded: CodedRows)?

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

  /// Goes through the rows.
  ///
  /// - Parameter name: What the pass is called in a ``Recording``.
  /// - Returns: The sum over rows and the codes, each nil where it was not asked for.
  @discardableResult
  package func callAsFunction(_ name: StaticString) -> (sum: Tensor?, coded: CodedRows?) {
    let (count, columns) = (rows.count, rows.columns)
    let stride = Int(graft_row_pass_stride(Int64(columns)))
    let blocks = (count + Self.blockRows - 1) / Self.blockRows
    let (rank, leftRank) = (factor?.target.range.count ?? 0, sum?.left.range.count ?? 0)
    let partial = sum.map { _ in Tensor.empty([blocks, leftRank, stride], dtype: .float32) }
    let coded = rounding?.coded
    let pass = graft_row_pass(
      rows: Int64(count), columns: Int64(columns),
      factor: factor?.packed.elements(), product: factor?.target.first, rank: Int64(rank),
      product_row: Int64(factor?.target.matrix.size(1) ?? 0),
      left: sum?.left.first, sums: partial?.elements(), left_rank: Int64(leftRank),
      left_row: Int64(sum?.left.matrix.size(1) ?? 0),
      column_factor: rounding?.columnFactors.elements(), threshold: 0,
      codes: coded?.codes.elements(), scale: coded?.scales.elements(), outlier: nil,
      code_sums: coded?.sums?.elements())
    let work = columns * (rank + leftRank + 4) * Self.blockRows
    let result = withScope(
      .kernel, "\(name)", operations: 2 * count * columns * (rank + leftRank)
    ) {
      run(pass, blocks: blocks, grain: max(1, (1 << 19) / work))
      return sum.map { total($0, of: pass) }
    }
    withExtendedLifetime((rows, factor, sum, rounding, partial)) {}
    return (result, coded)
  }

  private static let blockRows = Int(GRAFT_ROW_BLOCK)

  /// Does all blocks, a few rows at a time.
  private func run(_ pass: graft_row_pass, blocks: Int, grain: Int) {
    let (count, columns) = (rows.count, rows.columns)
    let some = Int(graft_row_pass_rows(Int64(columns)))
    // Threads read it and write disjoint parts of what it points to.
    nonisolated(unsafe) let pass = pass
    func forEachStretch(
      _ body: @Sendable (_ pass: UnsafePointer<graft_row_pass>, Range<Int>, _ caller: Int) -> Void
    ) {
      let callers = Atomic<Int>(0)
      Runtime.parallelFor(0..<blocks, grain: grain) { range in
        let caller = callers.wrappingAdd(1, ordering: .relaxed).oldValue
        withUnsafePointer(to: pass) { pass in
          for block in range {
            var first = block * Self.blockRows
            let end = min(first + Self.blockRows, count)
            while first < end {
              let next = min(first + some, end)
              body(pass, first..<next, caller)
              first = next
            }
          }
        }
      }
    }
    if let stored = rows.stored {
      nonisolated(unsafe) let x = stored.elements(Float.self)
      forEachStretch { pass, range, _ in
        graft_row_pass_run(
          pass, x + range.lowerBound * columns, Int64(range.lowerBound), Int64(range.upperBound),
          Int64(count - range.upperBound))
      }
      return
    }
    // A large tensor's memory is there again for the next pass, pages and all.
    let users = min(Runtime.threadCount, blocks)
    let buffers = Tensor.empty([max(users * some * columns, 64 << 10)], dtype: .float32)
    nonisolated(unsafe) let memory = buffers.elements(Float.self)
    rows.withWriter { write in
      forEachStretch { pass, range, caller in
        precondition(caller < users, "RowPass: more parts at a time than threads")
        let x = memory + caller * some * columns
        write(range.lowerBound, range.upperBound, x)
        graft_row_pass_run(pass, x, Int64(range.lowerBound), Int64(range.upperBound), 0)
      }
    }
    withExtendedLifetime(buffers) {}
  }

  /// The parts of a sum, added in the order of their blocks.
  private func total(_ sum: Sum, of pass: graft_row_pass) -> Tensor {
    let (columns, rank) = (rows.columns, sum.left.range.count)
    let result = Tensor.empty(
      sum.isTransposed ? [columns, rank] : [rank, columns], dtype: .float32)
    let strides = result.strides
    let (row, step) = (
      Int64(strides[sum.isTransposed ? 0 : 1]), Int64(strides[sum.isTransposed ? 1 : 0])
    )
    let scale = Float(sum.scale)
    nonisolated(unsafe) let (pass, memory) = (pass, result.elements(Float.self))
    // In vectors of 16 columns.
    let added = Int(graft_row_pass_blocks([pass])) * rank * 16
    Runtime.parallelFor(0..<(columns + 15) / 16, grain: max(1, (1 << 18) / added)) { range in
      withUnsafePointer(to: pass) {
        graft_row_pass_total(
          $0, scale, row, step, Int64(16 * range.lowerBound),
          Int64(min(16 * range.upperBound, columns)), memory)
      }
    }
    withExtendedLifetime(result) {}
    return result
  }
}
