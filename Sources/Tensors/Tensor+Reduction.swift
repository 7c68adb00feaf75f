private enum Operators {
  static let sum = Operator("aten::sum")
  static let sumAlong = Operator("aten::sum", "dim_IntList")
  static let sumOfNumbers = Operator("aten::nansum")
  static let mean = Operator("aten::mean")
  static let meanAlong = Operator("aten::mean", "dim")
  static let std = Operator("aten::std")
  static let max = Operator("aten::max")
  static let min = Operator("aten::min")
  static let maxAlong = Operator("aten::amax")
  static let minAlong = Operator("aten::amin")
  static let argmax = Operator("aten::argmax")
  static let norm = Operator("aten::linalg_vector_norm")
  static let softmax = Operator("aten::softmax", "int")
  static let logSoftmax = Operator("aten::log_softmax", "int")
  static let logSumExp = Operator("aten::logsumexp")
  static let cumsum = Operator("aten::cumsum")
  static let all = Operator("aten::all")
  static let isFinite = Operator("aten::isfinite")
  static let sort = Operator("aten::sort", "stable")
  static let topk = Operator("aten::topk")
  static let rmsNorm = Operator("aten::rms_norm")
  static let layerNorm = Operator("aten::layer_norm")
}

extension Tensor {
  /// Sum of all elements.
  public func sum() -> Tensor { Operators.sum(.tensor(self)) }

  /// Sums along dimensions.
  ///
  /// - Parameters:
  ///   - dimensions: Along which.
  ///   - keepDimensions: Whether they stay, with size one.
  /// - Returns: A new tensor.
  public func sum(_ dimensions: [Int], keepDimensions: Bool = false) -> Tensor {
    Operators.sumAlong(.tensor(self), .ints(dimensions), .bool(keepDimensions))
  }

  /// Sums along dimensions of what is a number; NaN counts as zero.
  ///
  /// - Parameters:
  ///   - dimensions: Along which.
  ///   - keepDimensions: Whether they stay, with size one.
  /// - Returns: A new tensor.
  public func sumOfNumbers(_ dimensions: [Int], keepDimensions: Bool = false) -> Tensor {
    Operators.sumOfNumbers(.tensor(self), .ints(dimensions), .bool(keepDimensions))
  }

  /// Mean of all elements.
  public func mean() -> Tensor { Operators.mean(.tensor(self)) }

  /// Standard deviation of all elements, with n - 1 in the denominator.
  ///
  /// - Returns: A scalar.
  public func standardDeviation() -> Tensor { Operators.std(.tensor(self), .bool(true)) }

  /// Means along dimensions.
  ///
  /// - Parameters:
  ///   - dimensions: Along which.
  ///   - keepDimensions: Whether they stay, with size one.
  /// - Returns: A new tensor.
  public func mean(_ dimensions: [Int], keepDimensions: Bool = false) -> Tensor {
    Operators.meanAlong(.tensor(self), .ints(dimensions), .bool(keepDimensions))
  }

  /// Largest element.
  public func max() -> Tensor { Operators.max(.tensor(self)) }
  /// Smallest element.
  public func min() -> Tensor { Operators.min(.tensor(self)) }

  /// Largest elements along a dimension.
  ///
  /// - Parameters:
  ///   - dimension: Along which.
  ///   - keepDimension: Whether it stays, with size one.
  /// - Returns: A new tensor.
  public func max(_ dimension: Int, keepDimension: Bool = false) -> Tensor {
    Operators.maxAlong(.tensor(self), .ints([dimension]), .bool(keepDimension))
  }

  /// Smallest elements along a dimension.
  ///
  /// - Parameters:
  ///   - dimension: Along which.
  ///   - keepDimension: Whether it stays, with size one.
  /// - Returns: A new tensor.
  public func min(_ dimension: Int, keepDimension: Bool = false) -> Tensor {
    Operators.minAlong(.tensor(self), .ints([dimension]), .bool(keepDimension))
  }

  /// Index of the largest element along a dimension, the first one of equals.
  ///
  /// - Parameter dimension: Along which.
  /// - Returns: An int64 tensor without that dimension.
  public func indexOfMaximum(_ dimension: Int = -1) -> Tensor {
    Operators.argmax(.tensor(self), .int(dimension))
  }

  /// Euclidean length of all elements together.
  public func norm() -> Tensor { Operators.norm(.tensor(self)) }

  /// Euclidean lengths along dimensions.
  ///
  /// - Parameters:
  ///   - dimensions: Along which.
  ///   - keepDimensions: Whether they stay, with size one.
  /// - Returns: A new tensor.
  public func norm(_ dimensions: [Int], keepDimensions: Bool = false) -> Tensor {
    Operators.norm(.tensor(self), .double(2), .ints(dimensions), .bool(keepDimensions))
  }

  /// exp(x) / sum(exp(x)) along a dimension.
  ///
  /// - Parameters:
  ///   - dimension: Along which.
  ///   - dtype: Type to compute and return in; nil for this tensor's.
  /// - Returns: A tensor of the same shape.
  public func softmax(_ dimension: Int = -1, dtype: DType? = nil) -> Tensor {
    Operators.softmax(.tensor(self), .int(dimension), .optional(dtype))
  }

  /// Logarithm of the softmax along a dimension.
  ///
  /// - Parameter dimension: Along which.
  /// - Returns: A tensor of the same shape.
  public func logSoftmax(_ dimension: Int = -1) -> Tensor {
    Operators.logSoftmax(.tensor(self), .int(dimension))
  }

  /// log(sum(exp(x))) along a dimension, without overflow.
  ///
  /// - Parameters:
  ///   - dimension: Along which.
  ///   - keepDimension: Whether it stays, with size one.
  /// - Returns: A new tensor.
  public func logSumExp(_ dimension: Int = -1, keepDimension: Bool = false) -> Tensor {
    Operators.logSumExp(.tensor(self), .ints([dimension]), .bool(keepDimension))
  }

  /// Running sums along a dimension.
  ///
  /// - Parameter dimension: Along which.
  /// - Returns: A tensor of the same shape.
  public func cumulativeSum(_ dimension: Int = -1) -> Tensor {
    Operators.cumsum(.tensor(self), .int(dimension))
  }

  /// Whether no element is infinite or NaN.
  public var isAllFinite: Bool {
    Operators.all(.tensor(Operators.isFinite(.tensor(self)))).item() != 0
  }

  /// Elements in order along a dimension; equal ones keep theirs.
  ///
  /// - Parameters:
  ///   - dimension: Along which.
  ///   - descending: Whether the largest comes first.
  /// - Returns: The elements and their int64 indices before.
  public func sorted(
    _ dimension: Int = -1, descending: Bool = false
  ) -> (values: Tensor, indices: Tensor) {
    let results = Operators.sort.tensors([
      .tensor(self), .bool(true), .int(dimension), .bool(descending),
    ])
    return (results[0], results[1])
  }

  /// The largest elements along a dimension, largest first.
  ///
  /// - Parameters:
  ///   - count: How many.
  ///   - dimension: Along which.
  /// - Returns: The elements and their int64 indices.
  public func largest(_ count: Int, dimension: Int = -1) -> (values: Tensor, indices: Tensor) {
    let results = Operators.topk.tensors([.tensor(self), .int(count), .int(dimension)])
    return (results[0], results[1])
  }

  /// The smallest elements along a dimension, smallest first.
  ///
  /// - Parameters:
  ///   - count: How many.
  ///   - dimension: Along which.
  /// - Returns: The elements and their int64 indices.
  public func smallest(_ count: Int, dimension: Int = -1) -> (values: Tensor, indices: Tensor) {
    let results = Operators.topk.tensors([
      .tensor(self), .int(count), .int(dimension), .bool(false),
    ])
    return (results[0], results[1])
  }

  /// LibTorch's layer normalisation over the last dimension.
  ///
  /// - Parameters:
  ///   - weight: Factors `[size]`, or nil.
  ///   - bias: Addends `[size]`, or nil.
  ///   - epsilon: Added to the variance.
  /// - Returns: A tensor of the same shape.
  public func layerNormalized(weight: Tensor?, bias: Tensor?, epsilon: Double) -> Tensor {
    // LibTorch's own has no kernel that computes shapes alone.
    if device.kind == .meta { return .empty(shape, dtype: dtype, device: device) }
    return Operators.layerNorm(
      .tensor(self), .ints([size(-1)]), .optional(weight), .optional(bias), .double(epsilon))
  }
}
