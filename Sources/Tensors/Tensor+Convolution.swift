private let transposedConvolution = Operator("aten::conv_transpose2d", "input")

extension Tensor {
  /// Transposed convolution over the last two dimensions: every element adds a copy of the kernel.
  ///
  /// ## Shapes
  /// - self: `[batch, channels, height, width]`, kernel: `[channels, outputs, kernelHeight,
  ///   kernelWidth]`, result: `[batch, outputs, (height - 1) stride + kernelHeight - 2 cropped, ...]`.
  ///
  /// - Parameters:
  ///   - kernel: What each element adds.
  ///   - stride: Distance of neighbours' copies, down and across.
  ///   - cropped: How much is cut off at both ends, down and across.
  /// - Returns: A new tensor.
  public func transposedConvolution2D(
    _ kernel: Tensor, stride: [Int], cropped: [Int] = [0, 0]
  ) -> Tensor {
    transposedConvolution(
      .tensor(self), .tensor(kernel), .none, .ints(stride), .ints(cropped), .ints([0, 0]), .int(1),
      .ints([1, 1]))
  }
}
