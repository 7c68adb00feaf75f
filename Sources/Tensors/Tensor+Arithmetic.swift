private enum Operators {
  static let add = Operator("aten::add", "Tensor")
  static let addScalar = Operator("aten::add", "Scalar")
  static let sub = Operator("aten::sub", "Tensor")
  static let mul = Operator("aten::mul", "Tensor")
  static let mulScalar = Operator("aten::mul", "Scalar")
  static let div = Operator("aten::div", "Tensor")
  static let divScalar = Operator("aten::div", "Scalar")
  static let neg = Operator("aten::neg")
  static let pow = Operator("aten::pow", "Tensor_Scalar")
  static let abs = Operator("aten::abs")
  static let sign = Operator("aten::sign")
  static let exp = Operator("aten::exp")
  static let log = Operator("aten::log")
  static let sqrt = Operator("aten::sqrt")
  static let rsqrt = Operator("aten::rsqrt")
  static let reciprocal = Operator("aten::reciprocal")
  static let sin = Operator("aten::sin")
  static let cos = Operator("aten::cos")
  static let tanh = Operator("aten::tanh")
  static let sigmoid = Operator("aten::sigmoid")
  static let silu = Operator("aten::silu")
  static let siluBackward = Operator("aten::silu_backward")
  static let relu = Operator("aten::relu")
  static let gelu = Operator("aten::gelu")
  static let softplus = Operator("aten::softplus")
  static let erf = Operator("aten::erf")
  static let expm1 = Operator("aten::expm1")
  static let lgamma = Operator("aten::lgamma")
  static let digamma = Operator("aten::digamma")
  static let clamp = Operator("aten::clamp")
  static let maximum = Operator("aten::maximum")
  static let minimum = Operator("aten::minimum")
  static let dropout = Operator("aten::native_dropout")
  static let bernoulli = Operator("aten::bernoulli", "p")
}

extension Tensor {
  /// Sum, element by element, with broadcasting.
  public static func + (left: Tensor, right: Tensor) -> Tensor {
    Operators.add(.tensor(left), .tensor(right))
  }
  /// Sum with a number.
  public static func + (left: Tensor, right: Double) -> Tensor {
    Operators.addScalar(.tensor(left), .double(right))
  }
  /// Difference, element by element, with broadcasting.
  public static func - (left: Tensor, right: Tensor) -> Tensor {
    Operators.sub(.tensor(left), .tensor(right))
  }
  /// Difference to a number.
  public static func - (left: Tensor, right: Double) -> Tensor { left + -right }
  /// Product, element by element, with broadcasting.
  public static func * (left: Tensor, right: Tensor) -> Tensor {
    Operators.mul(.tensor(left), .tensor(right))
  }
  /// Product with a number.
  public static func * (left: Tensor, right: Double) -> Tensor {
    Operators.mulScalar(.tensor(left), .double(right))
  }
  /// Product with a number.
  public static func * (left: Double, right: Tensor) -> Tensor { right * left }
  /// Quotient, element by element, with broadcasting.
  public static func / (left: Tensor, right: Tensor) -> Tensor {
    Operators.div(.tensor(left), .tensor(right))
  }
  /// Quotient by a number.
  public static func / (left: Tensor, right: Double) -> Tensor {
    Operators.divScalar(.tensor(left), .double(right))
  }
  /// Every element with its sign changed.
  public static prefix func - (operand: Tensor) -> Tensor { Operators.neg(.tensor(operand)) }

  /// This tensor plus a multiple of another.
  ///
  /// - Parameters:
  ///   - other: What is added, broadcast.
  ///   - scale: Its factor.
  /// - Returns: self + scale * other.
  public func adding(_ other: Tensor, scale: Double) -> Tensor {
    Operators.add(.tensor(self), .tensor(other), .double(scale))
  }

  /// Every element to a power.
  ///
  /// - Parameter exponent: The power.
  /// - Returns: A tensor of the same shape.
  public func power(_ exponent: Double) -> Tensor {
    Operators.pow(.tensor(self), .double(exponent))
  }
  /// Magnitude of every element.
  public func absolute() -> Tensor { Operators.abs(.tensor(self)) }
  /// -1, 0 or 1 for every element.
  public func sign() -> Tensor { Operators.sign(.tensor(self)) }
  /// e to the power of every element.
  public func exponential() -> Tensor { Operators.exp(.tensor(self)) }
  /// Natural logarithm of every element.
  public func logarithm() -> Tensor { Operators.log(.tensor(self)) }
  /// Square root of every element.
  public func squareRoot() -> Tensor { Operators.sqrt(.tensor(self)) }
  /// One over the square root of every element.
  public func reciprocalSquareRoot() -> Tensor { Operators.rsqrt(.tensor(self)) }
  /// One over every element.
  public func reciprocal() -> Tensor { Operators.reciprocal(.tensor(self)) }
  /// Sine of every element, in radians.
  public func sine() -> Tensor { Operators.sin(.tensor(self)) }
  /// Cosine of every element, in radians.
  public func cosine() -> Tensor { Operators.cos(.tensor(self)) }
  /// Hyperbolic tangent of every element.
  public func tanh() -> Tensor { Operators.tanh(.tensor(self)) }
  /// 1 / (1 + exp(-x)) of every element.
  public func sigmoid() -> Tensor { Operators.sigmoid(.tensor(self)) }
  /// x * sigmoid(x) of every element.
  public func silu() -> Tensor { Operators.silu(.tensor(self)) }
  /// max(x, 0) of every element.
  ///
  /// LibTorch has no such operator for tensors without memory, of which only the shape counts.
  public func relu() -> Tensor {
    device.kind == .meta ? clamped(lower: 0) : Operators.relu(.tensor(self))
  }

  /// log(1 + exp(x)) of every element.
  public func softplus() -> Tensor { Operators.softplus(.tensor(self)) }
  /// The Gauss error function of every element.
  public func errorFunction() -> Tensor { Operators.erf(.tensor(self)) }
  /// exp(x) - 1 of every element, exact where x is small.
  public func exponentialMinusOne() -> Tensor { Operators.expm1(.tensor(self)) }
  /// log |Gamma(x)| of every element.
  public func logGamma() -> Tensor { Operators.lgamma(.tensor(self)) }
  /// The derivative of log Gamma at every element.
  public func digamma() -> Tensor { Operators.digamma(.tensor(self)) }

  /// Derivative of `silu` times an incoming gradient.
  ///
  /// - Parameter gradient: Derivative with respect to the result of `silu`.
  /// - Returns: Derivative with respect to this tensor.
  public func siluPullback(_ gradient: Tensor) -> Tensor {
    Operators.siluBackward(.tensor(gradient), .tensor(self))
  }

  /// Gaussian error linear unit.
  ///
  /// - Parameter approximation: Whether the formula with tanh is used instead of the one with erf.
  /// - Returns: A tensor of the same shape.
  public func gelu(tanhApproximation approximation: Bool = false) -> Tensor {
    Operators.gelu(.tensor(self), .string(approximation ? "tanh" : "none"))
  }

  /// Every element moved into a range.
  ///
  /// - Parameters:
  ///   - lower: Smallest value, nil for none.
  ///   - upper: Largest value, nil for none.
  /// - Returns: A tensor of the same shape.
  public func clamped(lower: Double? = nil, upper: Double? = nil) -> Tensor {
    Operators.clamp(.tensor(self), .optional(lower), .optional(upper))
  }

  /// The larger of two elements, everywhere.
  ///
  /// - Parameter other: The other tensor, broadcast.
  /// - Returns: A tensor of the common shape.
  public func maximum(_ other: Tensor) -> Tensor {
    Operators.maximum(.tensor(self), .tensor(other))
  }

  /// The smaller of two elements, everywhere.
  ///
  /// - Parameter other: The other tensor, broadcast.
  /// - Returns: A tensor of the common shape.
  public func minimum(_ other: Tensor) -> Tensor {
    Operators.minimum(.tensor(self), .tensor(other))
  }

  /// Zeroes elements at random and scales the others by 1 / (1 - probability).
  ///
  /// - Parameters:
  ///   - probability: Share of elements that become zero, in 0 ..< 1.
  ///   - generator: Source of randomness; nil for the device's default one.
  /// - Returns: A tensor of the same shape.
  public func dropout(_ probability: Double, generator: Generator? = nil) -> Tensor {
    precondition((0..<1).contains(probability), "dropout: probability \(probability)")
    if probability == 0 { return self }
    let keep = 1 - probability
    let mask = withoutGradients {
      Operators.bernoulli(.tensor(emptyLike()), .double(keep), .optional(generator)) * (1 / keep)
    }
    return self * mask
  }

  /// The draws of ``dropout(_:generator:)`` alone: true with a probability, for each element.
  package func randomMask(keeping probability: Double, generator: Generator?) -> Tensor {
    withoutGradients {
      Operators.bernoulli(.tensor(emptyLike()), .double(probability), .optional(generator))
        .to(.bool)
    }
  }
}
