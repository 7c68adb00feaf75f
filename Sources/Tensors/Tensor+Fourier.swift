private enum Operators {
  static let realTransform = Operator("aten::fft_rfft")
  static let inverseRealTransform = Operator("aten::fft_irfft")
  static let inverseTransform2D = Operator("aten::fft_ifft2")
  static let conjugate = Operator("aten::conj")
}

extension Tensor {
  /// Discrete Fourier transform of real numbers along the last dimension, its first half.
  ///
  /// ## Shapes
  /// - self: `[..., n]`, float32 or float64; result: `[..., n / 2 + 1]`, complex.
  ///
  /// - Returns: X[f] = sum over t of x[t] exp(-2 pi i f t / n).
  public func realFourierTransform() -> Tensor {
    Operators.realTransform(.tensor(self), .none, .int(-1), .none)
  }

  /// The real numbers of a transform's first half along the last dimension.
  ///
  /// ## Shapes
  /// - self: `[..., n / 2 + 1]`, complex; result: `[..., n]`, real.
  ///
  /// - Parameter count: n, which the halves of an even and an odd count do not tell.
  /// - Returns: The inverse of ``realFourierTransform()``.
  public func inverseRealFourierTransform(count: Int) -> Tensor {
    Operators.inverseRealTransform(.tensor(self), .int(count), .int(-1), .none)
  }

  /// Inverse discrete Fourier transform over the last two dimensions.
  ///
  /// - Returns: Complex numbers of this tensor's shape, divided by the count of both dimensions.
  public func inverseFourierTransform2D() -> Tensor {
    Operators.inverseTransform2D(.tensor(self), .none, .ints([-2, -1]), .none)
  }

  /// Complex numbers with the sign of their imaginary parts changed.
  ///
  /// - Returns: A tensor of the same shape.
  public func conjugate() -> Tensor { Operators.conjugate(.tensor(self)) }
}
