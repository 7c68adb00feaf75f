/// Rows of a float32 matrix that lie in memory, or that are computed where they are read.
///
/// What a backward pass computes again for one product alone need not be written to memory as a whole.
package struct RowSource {
  /// Rows of the matrix.
  package let count: Int
  /// Numbers of a row.
  package let columns: Int

  let stored: Tensor?
  private let tensors: [Tensor]
  private let name: StaticString
  private let body: @Sendable (KernelMemory, Int, Int, UnsafeMutablePointer<Float>) -> Void

  /// Rows that lie in memory.
  ///
  /// - Parameter tensor: `[N, columns]`.
  package init(_ tensor: Tensor) {
    (count, columns) = (tensor.size(0), tensor.size(1))
    stored = tensor
    (tensors, name, body) = ([], "", { _, _, _, _ in })
  }

  /// Rows that are computed.
  ///
  /// - Parameters:
  ///   - count: Rows of the matrix.
  ///   - columns: Numbers of a row.
  ///   - tensors: Contiguous tensors on the processor, which `body` gets the memory of.
  ///   - name: What the kernel is called in a ``Recording`` where all rows are computed at once.
  ///   - body: Writes some rows, the first of them at a place; several threads call it.
  package init(
    count: Int, columns: Int, _ tensors: [Tensor], name: StaticString,
    _ body:
      @escaping @Sendable (
        KernelMemory, _ first: Int, _ end: Int, UnsafeMutablePointer<Float>
      ) -> Void
  ) {
    (self.count, self.columns, stored) = (count, columns, nil)
    (self.tensors, self.name, self.body) = (tensors, name, body)
  }

  /// The rows as a whole, `[N, columns]`.
  package var tensor: Tensor {
    if let stored { return stored }
    let result = Tensor.empty([count, columns], dtype: .float32)
    guard result.count > 0 else { return result }
    let (columns, body, place) = (columns, body, tensors.count)
    forEachBlockRange(count, blockSize: columns, tensors + [result], name: name) {
      body($0, Int($1), Int($2), $0.elements(place, Float.self) + Int($1) * columns)
    }
    return result
  }

  /// Writes some rows, the first of them at a place, as long as this source lives.
  var writer: @Sendable (_ first: Int, _ end: Int, UnsafeMutablePointer<Float>) -> Void {
    let (memory, body) = (KernelMemory(tensors), body)
    return { body(memory, $0, $1, $2) }
  }
}
