import CKernels
import Synchronization

extension RowPass {
  /// What a pass gives besides the products, which are where they were wanted.
  package struct Result {
    /// The sum over rows; nil where it was not asked for.
    package let sum: Tensor?
    /// The rows in codes; nil where they were not asked for.
    package let coded: CodedRows?
  }

  /// Goes through the rows.
  ///
  /// - Parameter name: What the pass is called in a ``Recording``.
  /// - Returns: What was asked for.
  @discardableResult
  package func callAsFunction(_ name: StaticString) -> Result { Self.run([self], name)[0] }

  /// Goes through several matrices of as many rows at once.
  ///
  /// Each block of rows is done by all passes in their order: one may read the products of those before it.
  ///
  /// - Parameters:
  ///   - passes: At least one.
  ///   - name: What they are called in a ``Recording``.
  /// - Returns: What each was asked for.
  package static func run(_ passes: [RowPass], _ name: StaticString) -> [Result] {
    let count = passes.first?.rows.count ?? 0
    precondition(
      count > 0 && passes.allSatisfy { $0.rows.count == count },
      "RowPass: passes of \(passes.map(\.rows.count)) rows")
    let blocks = (count + blockRows - 1) / blockRows
    let users = min(Runtime.threadCount, blocks)
    let works = passes.map { BlockWork($0, users: users) }
    let perBlock = works.map(\.multiplications).reduce(0, +) * blockRows
    return withScope(
      .kernel, "\(name)", operations: 2 * count * passes.map(\.products).reduce(0, +)
    ) {
      let callers = Atomic<Int>(0)
      Runtime.parallelFor(0..<blocks, grain: max(1, (1 << 19) / perBlock)) { range in
        let caller = callers.wrappingAdd(1, ordering: .relaxed).oldValue
        precondition(caller < users, "RowPass: more parts at a time than threads")
        for block in range {
          for work in works {
            work.run(block * blockRows..<min((block + 1) * blockRows, count), caller: caller)
          }
        }
      }
      defer { withExtendedLifetime(passes) {} }
      return zip(passes, works).map { pass, work in
        Result(sum: pass.sum.map { work.total($0) }, coded: pass.rounding?.coded)
      }
    }
  }

  private static let blockRows = Int(GRAFT_ROW_BLOCK)

  /// Multiplications for each row of products and sums.
  private var products: Int {
    rows.columns * ((factor?.target.range.count ?? 0) + (sum?.left.range.count ?? 0))
  }

  /// What threads need of a pass, which has to live as long.
  private struct BlockWork: @unchecked Sendable {
    private let pass: graft_row_pass
    private let count: Int
    private let columns: Int
    /// Rows that are done at a time.
    private let stretch: Int
    private let stored: UnsafeMutablePointer<Float>?
    private let writer: @Sendable (Int, Int, UnsafeMutablePointer<Float>) -> Void
    /// Rows that are computed, a stretch for each thread; and sums of blocks.
    private let buffers: Tensor?
    private let partial: Tensor?
    /// For each row, with what rounding costs.
    let multiplications: Int

    init(_ whole: RowPass, users: Int) {
      let (rows, factor, sum, coded) = (
        whole.rows, whole.factor, whole.sum, whole.rounding?.coded
      )
      (count, columns, writer) = (rows.count, rows.columns, rows.writer)
      stretch = Int(graft_row_pass_rows(Int64(columns)))
      stored = rows.stored?.elements()
      // A large tensor's memory is there again for the next pass, pages and all.
      buffers =
        rows.stored == nil
        ? Tensor.empty([max(users * stretch * columns, 64 << 10)], dtype: .float32) : nil
      let blocks = (count + RowPass.blockRows - 1) / RowPass.blockRows
      let stride = Int(graft_row_pass_stride(Int64(columns)))
      partial = sum.map {
        Tensor.empty([blocks, $0.left.range.count, stride], dtype: .float32)
      }
      multiplications = whole.products + 4 * columns
      pass = graft_row_pass(
        rows: Int64(count), columns: Int64(columns),
        factor: factor?.packed.elements(), product: factor?.target.first,
        rank: Int64(factor?.target.range.count ?? 0),
        product_row: Int64(factor?.target.matrix.size(1) ?? 0),
        left: sum?.left.first, sums: partial?.elements(),
        left_rank: Int64(sum?.left.range.count ?? 0),
        left_row: Int64(sum?.left.matrix.size(1) ?? 0),
        column_factor: whole.rounding?.columnFactors.elements(), threshold: 0,
        codes: coded?.codes.elements(), scale: coded?.scales.elements(), outlier: nil,
        code_sums: coded?.sums?.elements())
    }

    /// Does the rows of a block, a few at a time.
    func run(_ block: Range<Int>, caller: Int) {
      let buffer = buffers.map { $0.elements(Float.self) + caller * stretch * columns }
      withUnsafePointer(to: pass) { pass in
        var first = block.lowerBound
        while first < block.upperBound {
          let end = min(first + stretch, block.upperBound)
          if let stored {
            graft_row_pass_run(
              pass, stored + first * columns, Int64(first), Int64(end), Int64(count - end))
          } else if let buffer {
            writer(first, end, buffer)
            graft_row_pass_run(pass, buffer, Int64(first), Int64(end), 0)
          }
          first = end
        }
      }
    }

    /// The sums of blocks, added in their order.
    func total(_ sum: RowPass.Sum) -> Tensor {
      let rank = sum.left.range.count
      let result = Tensor.empty(
        sum.isTransposed ? [columns, rank] : [rank, columns], dtype: .float32)
      let strides = result.strides
      let (row, step) = (
        Int64(strides[sum.isTransposed ? 0 : 1]), Int64(strides[sum.isTransposed ? 1 : 0])
      )
      nonisolated(unsafe) let memory = result.elements(Float.self)
      // In vectors of 16 columns.
      let (blocks, scale) = (partial?.size(0) ?? 1, Float(sum.scale))
      let grain = max(1, (1 << 18) / (blocks * rank * 16))
      Runtime.parallelFor(0..<(columns + 15) / 16, grain: grain) { range in
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
}
