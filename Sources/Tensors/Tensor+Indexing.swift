private enum Operators {
  static let indexSelect = Operator("aten::index_select")
  static let gather = Operator("aten::gather")
  static let scatter = Operator("aten::scatter", "src")
  static let scatterAdd = Operator("aten::scatter_add")
  static let index = Operator("aten::index", "Tensor")
  static let indexCopy = Operator("aten::index_copy")
  static let embedding = Operator("aten::embedding")
  static let whereTensor = Operator("aten::where", "self")
  static let maskedFill = Operator("aten::masked_fill", "Scalar")
  static let nonzero = Operator("aten::nonzero")
  static let tril = Operator("aten::tril")
  static let triu = Operator("aten::triu")
  static let eqScalar = Operator("aten::eq", "Scalar")
  static let neScalar = Operator("aten::ne", "Scalar")
  static let ltScalar = Operator("aten::lt", "Scalar")
  static let leScalar = Operator("aten::le", "Scalar")
  static let gtScalar = Operator("aten::gt", "Scalar")
  static let geScalar = Operator("aten::ge", "Scalar")
  static let eq = Operator("aten::eq", "Tensor")
  static let lt = Operator("aten::lt", "Tensor")
  static let le = Operator("aten::le", "Tensor")
  static let ge = Operator("aten::ge", "Tensor")
  static let and = Operator("aten::bitwise_and", "Tensor")
  static let or = Operator("aten::logical_or")
  static let not = Operator("aten::bitwise_not")
  static let equal = Operator("aten::equal")
  static let multinomial = Operator("aten::multinomial")
}

extension Tensor {
  /// Slices at given places.
  ///
  /// - Parameters:
  ///   - dimension: Dimension that the indices count along.
  ///   - indices: int64 indices of shape `[count]`.
  /// - Returns: A new tensor with `count` slices.
  public func selecting(_ dimension: Int, _ indices: Tensor) -> Tensor {
    if device.kind == .meta {
      // LibTorch's own has no kernel that computes shapes alone.
      var shape = shape
      shape[dimension < 0 ? dimension + rank : dimension] = indices.count
      return .empty(shape, dtype: dtype, device: device)
    }
    return Operators.indexSelect(.tensor(self), .int(dimension), .tensor(indices))
  }

  /// One element for each index, along a dimension.
  ///
  /// - Parameters:
  ///   - dimension: Along which.
  ///   - indices: int64 indices, of this tensor's shape but for that dimension.
  /// - Returns: A tensor of the indices' shape.
  public func gathered(_ dimension: Int, _ indices: Tensor) -> Tensor {
    Operators.gather(.tensor(self), .int(dimension), .tensor(indices))
  }

  /// A copy with elements replaced at given places.
  ///
  /// - Parameters:
  ///   - dimension: Dimension that the indices count along.
  ///   - indices: int64 places.
  ///   - source: The new elements, of the indices' shape.
  /// - Returns: A new tensor.
  public func scattering(_ dimension: Int, _ indices: Tensor, _ source: Tensor) -> Tensor {
    Operators.scatter(.tensor(self), .int(dimension), .tensor(indices), .tensor(source))
  }

  /// A copy with numbers added at given places, which may be named more than once.
  ///
  /// - Parameters:
  ///   - dimension: Dimension that the indices count along.
  ///   - indices: int64 places.
  ///   - source: What is added, of the indices' shape.
  /// - Returns: A new tensor.
  public func scatterAdding(_ dimension: Int, _ indices: Tensor, _ source: Tensor) -> Tensor {
    Operators.scatterAdd(.tensor(self), .int(dimension), .tensor(indices), .tensor(source))
  }

  /// A copy with slices replaced at given places.
  ///
  /// - Parameters:
  ///   - dimension: Dimension that the indices count along.
  ///   - indices: int64 places of shape `[count]`, each once.
  ///   - source: The new slices, of this tensor's shape but for `count` along that dimension.
  /// - Returns: A new tensor.
  public func replacing(_ dimension: Int, at indices: Tensor, _ source: Tensor) -> Tensor {
    Operators.indexCopy(.tensor(self), .int(dimension), .tensor(indices), .tensor(source))
  }

  /// Rows of this table for each index.
  ///
  /// ## Shapes
  /// - self: `[rows, size]`, indices: any int64 shape, result: that shape and `size`.
  ///
  /// - Parameter indices: Row numbers.
  /// - Returns: A new tensor.
  public func embedding(_ indices: Tensor) -> Tensor {
    // LibTorch's own embedding has no kernel that computes shapes alone.
    if device.kind == .meta { return Operators.index(.tensor(self), .optionalTensors([indices])) }
    return Operators.embedding(.tensor(self), .tensor(indices))
  }

  /// Elements of one tensor or another.
  ///
  /// - Parameters:
  ///   - condition: A bool tensor.
  ///   - left: Elements where it is true.
  ///   - right: Elements where it is false.
  /// - Returns: A tensor of the common shape.
  public static func choosing(_ condition: Tensor, _ left: Tensor, _ right: Tensor) -> Tensor {
    Operators.whereTensor(.tensor(condition), .tensor(left), .tensor(right))
  }

  /// A copy with one value where a mask is true.
  ///
  /// - Parameters:
  ///   - mask: A bool tensor, broadcast.
  ///   - value: The value.
  /// - Returns: A new tensor.
  public func filled(where mask: Tensor, _ value: Double) -> Tensor {
    Operators.maskedFill(.tensor(self), .tensor(mask), .double(value))
  }

  /// Indices of the elements that are not zero.
  ///
  /// - Returns: An int64 tensor of shape `[count, rank]`.
  public func nonzeroIndices() -> Tensor { Operators.nonzero(.tensor(self)) }

  /// The matrix with zeros above a diagonal.
  ///
  /// - Parameter diagonal: 0 for the main one, positive above it.
  /// - Returns: A new tensor.
  public func lowerTriangle(_ diagonal: Int = 0) -> Tensor {
    Operators.tril(.tensor(self), .int(diagonal))
  }

  /// The matrix with zeros below a diagonal.
  ///
  /// - Parameter diagonal: 0 for the main one, positive above it.
  /// - Returns: A new tensor.
  public func upperTriangle(_ diagonal: Int = 0) -> Tensor {
    Operators.triu(.tensor(self), .int(diagonal))
  }

  /// Where elements equal a number, as bool.
  public static func .== (left: Tensor, right: Double) -> Tensor {
    Operators.eqScalar(.tensor(left), .double(right))
  }
  /// Where elements differ from a number, as bool.
  public static func .!= (left: Tensor, right: Double) -> Tensor {
    Operators.neScalar(.tensor(left), .double(right))
  }
  /// Where elements are below a number, as bool.
  public static func .< (left: Tensor, right: Double) -> Tensor {
    Operators.ltScalar(.tensor(left), .double(right))
  }
  /// Where elements are at most a number, as bool.
  public static func .<= (left: Tensor, right: Double) -> Tensor {
    Operators.leScalar(.tensor(left), .double(right))
  }
  /// Where elements are above a number, as bool.
  public static func .> (left: Tensor, right: Double) -> Tensor {
    Operators.gtScalar(.tensor(left), .double(right))
  }
  /// Where elements are at least a number, as bool.
  public static func .>= (left: Tensor, right: Double) -> Tensor {
    Operators.geScalar(.tensor(left), .double(right))
  }
  /// Where elements are equal, as bool, with broadcasting.
  public static func .== (left: Tensor, right: Tensor) -> Tensor {
    Operators.eq(.tensor(left), .tensor(right))
  }
  /// Where left elements are below right ones, as bool, with broadcasting.
  public static func .< (left: Tensor, right: Tensor) -> Tensor {
    Operators.lt(.tensor(left), .tensor(right))
  }
  /// Where left elements are at most right ones, as bool, with broadcasting.
  public static func .<= (left: Tensor, right: Tensor) -> Tensor {
    Operators.le(.tensor(left), .tensor(right))
  }
  /// Where left elements are at least right ones, as bool, with broadcasting.
  public static func .>= (left: Tensor, right: Tensor) -> Tensor {
    Operators.ge(.tensor(left), .tensor(right))
  }
  /// Both conditions, with broadcasting.
  public static func .& (left: Tensor, right: Tensor) -> Tensor {
    Operators.and(.tensor(left), .tensor(right))
  }
  /// Either condition, with broadcasting.
  public static func .| (left: Tensor, right: Tensor) -> Tensor {
    Operators.or(.tensor(left), .tensor(right))
  }
  /// The opposite of a condition.
  public func negated() -> Tensor { Operators.not(.tensor(self)) }

  /// Whether two tensors have the same shape and equal elements.
  ///
  /// - Parameter other: The other tensor, of the same dtype and device.
  /// - Returns: True when they do; NaN equals nothing.
  public func isEqual(to other: Tensor) -> Bool {
    shape == other.shape && Operators.equal.number(.tensor(self), .tensor(other)) != 0
  }

  /// Indices drawn with given weights.
  ///
  /// ## Shapes
  /// - self: `[rows, categories]` of non-negative weights; result: int64 `[rows, count]`.
  ///
  /// - Parameters:
  ///   - count: Draws for each row.
  ///   - replacement: Whether an index can be drawn again.
  ///   - generator: Source of randomness; nil for the device's default one.
  /// - Returns: A new tensor.
  public func multinomial(
    _ count: Int, replacement: Bool = true, generator: Generator? = nil
  ) -> Tensor {
    Operators.multinomial(
      .tensor(self), .int(count), .bool(replacement), .optional(generator))
  }
}

infix operator .== : ComparisonPrecedence
infix operator .!= : ComparisonPrecedence
infix operator .< : ComparisonPrecedence
infix operator .<= : ComparisonPrecedence
infix operator .> : ComparisonPrecedence
infix operator .>= : ComparisonPrecedence
infix operator .& : LogicalConjunctionPrecedence
infix operator .| : LogicalDisjunctionPrecedence
