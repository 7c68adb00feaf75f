import CKernels

extension Tensor {
  /// Whether this processor has our own kernel for products of float32 matrices.
  package static var hasFloat32Kernel: Bool { graft_has_float32_product() }

  /// Whether that kernel can multiply this tensor's rows by a weight.
  ///
  /// - Parameter weight: `[outputs, depth]`.
  /// - Returns: Whether types, places and strides are ones that it takes.
  package func isMultipliedByKernel(_ weight: Tensor) -> Bool { kernelLayout(weight) != nil }

  /// From a row of a weight to the next, of outputs or, `isTransposed`, of the depth; nil where the kernel
  /// cannot multiply by it.
  private func kernelLayout(_ weight: Tensor) -> (stride: Int, isTransposed: Bool)? {
    guard Self.hasFloat32Kernel, dtype == .float32, weight.dtype == .float32,
      device.kind == .cpu, weight.device.kind == .cpu, rank >= 2, weight.rank == 2,
      rank == 2 || isContiguous
    else { return nil }
    let (strides, shape) = (weight.strides, weight.shape)
    if strides[1] == 1, strides[0] >= shape[1] { return (strides[0], false) }
    if strides[0] == 1, strides[1] >= shape[0] { return (strides[1], true) }
    if weight.isContiguous { return (shape[1], false) }
    return nil
  }

  /// x (s W)^T + b and a product of low rank, by our own kernel; nothing is recorded.
  ///
  /// Every element is summed in the order of k: its bits do not depend on the other rows and outputs.
  /// Needs ``isMultipliedByKernel(_:)``.
  ///
  /// - Parameters:
  ///   - weight: W, `[outputs, depth]`; its rows or its columns have their numbers side by side.
  ///   - scale: s.
  ///   - bias: b, `[outputs]`, or nil.
  ///   - term: What is added; nil for nothing.
  ///   - memory: Contiguous float32 `[..., outputs]`, which is written to; nil for a new tensor.
  ///   - adds: Whether the result is added to what `memory` holds.
  /// - Returns: `[..., outputs]`.
  package func kernelProduct(
    _ weight: Tensor, scale: Double = 1, bias: Tensor? = nil, adding term: NarrowTerm? = nil,
    into memory: Tensor? = nil, adds: Bool = false
  ) -> Tensor {
    let (outputs, depth, count) = (weight.size(0), weight.size(1), self.count)
    let shape = Array(self.shape.dropLast()) + [outputs]
    let result = memory ?? Tensor.empty(shape, dtype: .float32)
    let layout = kernelLayout(weight)
    precondition(
      layout != nil && size(-1) == depth && result.shape == shape
        && result.dtype == .float32 && result.isContiguous && (memory != nil || !adds),
      "kernelProduct: \(dtype)\(self.shape) by \(weight.dtype)\(weight.shape) into \(result.shape)")
    let rows = self.shape.dropLast().reduce(1, *)
    term?.require(rows: rows, outputs: outputs)
    guard rows > 0, outputs > 0 else { return result }
    guard depth > 0, count > 0 else {
      if !adds { _ = result.fillInPlace(0) }
      if let term { _ = result.rows().addInPlace(term.product()) }
      if let bias { _ = result.addInPlace(bias) }
      return result
    }
    let bias = bias?.detached().to(.float32).contiguous()
    let (weightRow, isTransposed) = layout ?? (depth, false)
    let strides = rank == 2 ? self.strides : [depth, 1]
    let rowParts = partsOfRows(rows, panels: (outputs + 47) / 48)
    let product = graft_float32_product(
      x: firstElement(), weight: weight.firstElement(), weight_row: Int64(weightRow),
      scale: Float(scale), term: term.forKernels, bias: bias?.elements(), y: result.elements(),
      rows: Int64(rows), depth: Int64(depth), outputs: Int64(outputs),
      x_row: Int64(strides[0]), x_step: Int64(strides[1]),
      row_parts: Int64(rowParts), transposed: isTransposed, adds: adds)
    withUnsafePointer(to: product) { product in
      multiplyParts(
        product, count: graft_float32_parts(product), workspace: graft_float32_workspace(product),
        multiplications: rows * outputs * depth, perPart: rows / rowParts * 48 * depth,
        name: "float32_multiply", oneByOne: true
      ) { graft_float32_multiply($0, $1, $2, $3, $4) }
    }
    withExtendedLifetime((self, weight, bias, term?.rows, term?.factor, result)) {}
    return result
  }
}
