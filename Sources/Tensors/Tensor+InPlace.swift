private enum Operators {
  static let add = Operator("aten::add_", "Tensor")
  static let mulScalar = Operator("aten::mul_", "Scalar")
  static let mul = Operator("aten::mul_", "Tensor")
  static let div = Operator("aten::div_", "Tensor")
  static let addScalar = Operator("aten::add_", "Scalar")
  static let addcmul = Operator("aten::addcmul_")
  static let addcdiv = Operator("aten::addcdiv_")
  static let lerp = Operator("aten::lerp_", "Scalar")
  static let sqrt = Operator("aten::sqrt_")
  static let exp = Operator("aten::exp_")
  static let copy = Operator("aten::copy_")
  static let fill = Operator("aten::fill_", "Scalar")
  static let zero = Operator("aten::zero_")
  static let addmm = Operator("aten::addmm_")
  static let uniform = Operator("aten::uniform_")
  static let normal = Operator("aten::normal_")
  static let indexFill = Operator("aten::index_fill_", "int_Scalar")
  static let indexAdd = Operator("aten::index_add_")
}

/// Operators that change their receiver and return it.
extension Tensor {
  /// Adds a multiple of another tensor.
  ///
  /// - Parameters:
  ///   - other: What is added, broadcast.
  ///   - scale: Its factor.
  /// - Returns: This tensor.
  @discardableResult
  public func addInPlace(_ other: Tensor, scale: Double = 1) -> Tensor {
    Operators.add(.tensor(self), .tensor(other), .double(scale))
    return self
  }

  /// Adds a number to every element.
  ///
  /// - Parameter value: The number.
  /// - Returns: This tensor.
  @discardableResult
  public func addInPlace(_ value: Double) -> Tensor {
    Operators.addScalar(.tensor(self), .double(value))
    return self
  }

  /// Multiplies every element by a number.
  ///
  /// - Parameter factor: The number.
  /// - Returns: This tensor.
  @discardableResult
  public func multiplyInPlace(_ factor: Double) -> Tensor {
    Operators.mulScalar(.tensor(self), .double(factor))
    return self
  }

  /// Multiplies element by element.
  ///
  /// - Parameter other: The factors, broadcast.
  /// - Returns: This tensor.
  @discardableResult
  public func multiplyInPlace(_ other: Tensor) -> Tensor {
    Operators.mul(.tensor(self), .tensor(other))
    return self
  }

  /// Divides element by element.
  ///
  /// - Parameter other: The divisors, broadcast.
  /// - Returns: This tensor.
  @discardableResult
  public func divideInPlace(_ other: Tensor) -> Tensor {
    Operators.div(.tensor(self), .tensor(other))
    return self
  }

  /// Adds scale * left * right.
  ///
  /// - Parameters:
  ///   - left: First factor.
  ///   - right: Second factor.
  ///   - scale: Factor of the product.
  /// - Returns: This tensor.
  @discardableResult
  public func addProductInPlace(_ left: Tensor, _ right: Tensor, scale: Double = 1) -> Tensor {
    Operators.addcmul(.tensor(self), .tensor(left), .tensor(right), .double(scale))
    return self
  }

  /// Adds scale * numerator / denominator.
  ///
  /// - Parameters:
  ///   - numerator: Dividend.
  ///   - denominator: Divisor.
  ///   - scale: Factor of the quotient.
  /// - Returns: This tensor.
  @discardableResult
  public func addQuotientInPlace(
    _ numerator: Tensor, _ denominator: Tensor, scale: Double = 1
  ) -> Tensor {
    Operators.addcdiv(.tensor(self), .tensor(numerator), .tensor(denominator), .double(scale))
    return self
  }

  /// Moves towards another tensor: self + weight * (end - self).
  ///
  /// - Parameters:
  ///   - end: Where to move.
  ///   - weight: How far, 0 for not at all and 1 for all the way.
  /// - Returns: This tensor.
  @discardableResult
  public func interpolateInPlace(towards end: Tensor, weight: Double) -> Tensor {
    Operators.lerp(.tensor(self), .tensor(end), .double(weight))
    return self
  }

  /// Replaces every element by its square root.
  ///
  /// - Returns: This tensor.
  @discardableResult
  public func squareRootInPlace() -> Tensor {
    Operators.sqrt(.tensor(self))
    return self
  }

  /// Replaces every element by e to its power.
  ///
  /// - Returns: This tensor.
  @discardableResult
  public func exponentialInPlace() -> Tensor {
    Operators.exp(.tensor(self))
    return self
  }

  /// Copies another tensor's elements here, converting and broadcasting them.
  ///
  /// - Parameter source: The elements.
  /// - Returns: This tensor.
  @discardableResult
  public func copyInPlace(from source: Tensor) -> Tensor {
    Operators.copy(.tensor(self), .tensor(source))
    return self
  }

  /// Gives every element one value.
  ///
  /// - Parameter value: The value.
  /// - Returns: This tensor.
  @discardableResult
  public func fillInPlace(_ value: Double) -> Tensor {
    Operators.fill(.tensor(self), .double(value))
    return self
  }

  /// Adds a matrix product: self + scale * (left right).
  ///
  /// ## Shapes
  /// - self: `[n, p]`, left: `[n, m]`, right: `[m, p]`.
  ///
  /// - Parameters:
  ///   - left: First matrix.
  ///   - right: Second matrix.
  ///   - scale: Factor of the product.
  /// - Returns: This tensor.
  @discardableResult
  public func addMatrixProductInPlace(_ left: Tensor, _ right: Tensor, scale: Double = 1) -> Tensor
  {
    Operators.addmm(.tensor(self), .tensor(left), .tensor(right), .double(1), .double(scale))
    return self
  }

  /// Draws every element anew, uniform in a range.
  ///
  /// - Parameters:
  ///   - lower: Smallest value.
  ///   - upper: Exclusive largest value.
  ///   - generator: Source of randomness; nil for the device's default one.
  /// - Returns: This tensor.
  @discardableResult
  public func fillUniformInPlace(
    _ lower: Double, _ upper: Double, generator: Generator? = nil
  ) -> Tensor {
    Operators.uniform(.tensor(self), .double(lower), .double(upper), .optional(generator))
    return self
  }

  /// Draws every element anew from a normal distribution.
  ///
  /// - Parameters:
  ///   - mean: Its mean.
  ///   - deviation: Its standard deviation.
  ///   - generator: Source of randomness; nil for the device's default one.
  /// - Returns: This tensor.
  @discardableResult
  public func fillNormalInPlace(
    mean: Double = 0, deviation: Double = 1, generator: Generator? = nil
  ) -> Tensor {
    Operators.normal(.tensor(self), .double(mean), .double(deviation), .optional(generator))
    return self
  }

  /// Gives whole slices one value.
  ///
  /// - Parameters:
  ///   - dimension: Dimension that the indices count along.
  ///   - indices: int64 indices of the slices.
  ///   - value: The value.
  /// - Returns: This tensor.
  @discardableResult
  public func fillInPlace(_ dimension: Int, at indices: Tensor, _ value: Double) -> Tensor {
    Operators.indexFill(.tensor(self), .int(dimension), .tensor(indices), .double(value))
    return self
  }

  /// Adds slices of another tensor at given places, repeated ones adding up.
  ///
  /// - Parameters:
  ///   - dimension: Dimension that the indices count along.
  ///   - indices: int64 places, one for each slice of `source`.
  ///   - source: The slices.
  /// - Returns: This tensor.
  @discardableResult
  public func addInPlace(_ dimension: Int, at indices: Tensor, _ source: Tensor) -> Tensor {
    Operators.indexAdd(.tensor(self), .int(dimension), .tensor(indices), .tensor(source))
    return self
  }
}

private let scatterOperator = Operator("aten::scatter_", "src")

extension Tensor {
  /// Replaces elements at given places.
  ///
  /// - Parameters:
  ///   - dimension: Dimension that the indices count along.
  ///   - indices: int64 places.
  ///   - source: The new elements, of the indices' shape.
  /// - Returns: This tensor.
  @discardableResult
  public func scatteringInPlace(_ dimension: Int, _ indices: Tensor, _ source: Tensor) -> Tensor {
    scatterOperator(.tensor(self), .int(dimension), .tensor(indices), .tensor(source))
    return self
  }
}
