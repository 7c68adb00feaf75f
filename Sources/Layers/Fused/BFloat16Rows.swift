import CKernels
package import Tensors

/// Rows of numbers in bfloat16, for products with sums in float32.
///
/// LibTorch's products of bfloat16 round what they return to it, too; these return float32. The other
/// factor is in bfloat16 in memory, or in float32 and rounded as it is read, to nearest, ties to even:
/// an element of a product of depth k is off by at most about 2^-8 times the sum of the magnitudes of
/// its k terms.
package struct BFloat16Rows {
  /// bfloat16 `[rows, depth]`, contiguous, on the processor.
  package let numbers: Tensor

  /// Whether this processor multiplies pairs of bfloat16 numbers.
  package static var isSupported: Bool { graft_has_bfloat16_dot() }

  /// Takes numbers that are in bfloat16.
  ///
  /// - Parameter numbers: `[rows, depth]`, contiguous, on the processor.
  package init(_ numbers: Tensor) {
    precondition(
      numbers.rank == 2 && numbers.dtype == .bfloat16 && numbers.device.kind == .cpu,
      "BFloat16Rows: \(numbers.dtype)\(numbers.shape) on \(numbers.device)")
    self.numbers = numbers.contiguous()
  }

  /// Rounds numbers to nearest, ties to even.
  ///
  /// - Parameter x: float32 `[rows, depth]` on the processor.
  package init(rounding x: Tensor) {
    precondition(
      x.rank == 2 && x.dtype == .float32 && x.device.kind == .cpu,
      "BFloat16Rows: \(x.dtype)\(x.shape) on \(x.device)")
    let source = x.detached().contiguous()
    numbers = Tensor.empty(source.shape, dtype: .bfloat16)
    forEachBlockRange(source.count, blockSize: 1, [source, numbers], name: "round_to_bfloat16") {
      graft_round_to_bfloat16($0.elements(0, Float.self), $1, $2, $0.elements(1, UInt16.self))
    }
  }

  /// x W^T, and a product of low rank.
  ///
  /// - Parameters:
  ///   - weight: W, float32 or bfloat16 `[outputs, depth]`.
  ///   - term: What is added; nil for nothing.
  ///   - memory: Contiguous float32 `[rows, outputs]`, which is written to; nil for a new tensor.
  /// - Returns: float32 `[rows, outputs]`.
  package func multiplied(
    byRowsOf weight: Tensor, adding term: NarrowTerm? = nil, into memory: Tensor? = nil
  ) -> Tensor {
    product(weight, outputs: weight.size(0), isTransposed: false, term, memory, rowScale: nil)
  }

  /// x W, and a sum whose rows are scaled.
  ///
  /// - Parameters:
  ///   - weight: W, float32 `[depth, outputs]`.
  ///   - sum: float32 `[rows, outputs]`, contiguous, which becomes the result: each row is multiplied by
  ///     its number of `rowScale`, float32 `[rows]`, before the product is added; nil for nothing.
  /// - Returns: float32 `[rows, outputs]`.
  package func multiplied(
    byColumnsOf weight: Tensor, onto sum: (Tensor, rowScale: Tensor)? = nil
  ) -> Tensor {
    product(
      weight, outputs: weight.size(1), isTransposed: true, nil, sum?.0, rowScale: sum?.rowScale)
  }

  private func product(
    _ weight: Tensor, outputs: Int, isTransposed: Bool, _ term: NarrowTerm?, _ memory: Tensor?,
    rowScale: Tensor?
  ) -> Tensor {
    let (rows, depth) = (numbers.size(0), numbers.size(1))
    let result = memory ?? Tensor.empty([rows, outputs], dtype: .float32)
    precondition(
      (weight.dtype == .float32 || weight.dtype == .bfloat16 && !isTransposed)
        && weight.size(isTransposed ? 0 : 1) == depth
        && result.shape == [rows, outputs] && result.dtype == .float32 && Self.isSupported,
      "BFloat16Rows: \(numbers.shape) by \(weight.dtype)\(weight.shape) into \(result.shape)")
    term?.require(rows: rows, outputs: outputs)
    guard rows > 0, outputs > 0 else { return result }
    let (weight, scale) = (weight.detached().contiguous(), rowScale?.contiguous())
    let isRounded = weight.dtype == .bfloat16
    let rowParts = partsOfRows(rows, panels: (outputs + 63) / 64)
    let product = graft_bfloat16_product(
      x: numbers.elements(), weight: isRounded ? nil : weight.elements(),
      rounded: isRounded ? weight.elements() : nil, term: term.forKernels,
      row_scale: scale?.elements(), y: result.elements(), rows: Int64(rows), depth: Int64(depth),
      outputs: Int64(outputs), row_parts: Int64(rowParts), transposed: isTransposed)
    withUnsafePointer(to: product) { product in
      multiplyParts(
        product, count: graft_bfloat16_parts(product),
        workspace: graft_bfloat16_workspace(product), multiplications: rows * outputs * depth,
        perPart: rows / rowParts * 64 * depth, name: "bfloat16_multiply", oneByOne: true
      ) { graft_bfloat16_multiply($0, $1, $2, $3, $4) }
    }
    withExtendedLifetime((weight, scale, term?.rows, term?.factor, result)) {}
    return result
  }
}
