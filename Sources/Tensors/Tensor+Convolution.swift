private enum Operators {
  static let convolution = Operator("aten::convolution")
}

extension Tensor {
  /// Convolution over the last dimensions, as many as the weight has behind its first two.
  ///
  /// ## Shapes
  /// - self: `[batch, in, length...]`; weight: `[out, in / groups, kernel...]`; bias: `[out]`; result:
  ///   `[batch, out, length'...]`.
  ///
  /// - Parameters:
  ///   - weight: The kernels.
  ///   - bias: Added to each channel, or nil.
  ///   - stride: Steps of the kernel, one for each dimension.
  ///   - padding: Zeros on both sides of each dimension.
  ///   - dilation: Distances of the kernel's elements.
  ///   - groups: Groups of channels that do not see each other.
  /// - Returns: A new tensor.
  public func convolved(
    _ weight: Tensor, bias: Tensor? = nil, stride: [Int], padding: [Int], dilation: [Int],
    groups: Int = 1
  ) -> Tensor {
    Operators.convolution(
      .tensor(self), .tensor(weight), .optional(bias), .ints(stride), .ints(padding),
      .ints(dilation), .bool(false), .ints(stride.map { _ in 0 }), .int(groups))
  }
}
