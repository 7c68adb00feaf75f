private enum Operators {
  static let empty = Operator("aten::empty", "memory_format")
  static let zeros = Operator("aten::zeros")
  static let ones = Operator("aten::ones")
  static let full = Operator("aten::full")
  static let arange = Operator("aten::arange", "start_step")
  static let eye = Operator("aten::eye")
  static let emptyLike = Operator("aten::empty_like")
  static let zerosLike = Operator("aten::zeros_like")
  static let onesLike = Operator("aten::ones_like")
  static let randn = Operator("aten::randn", "generator")
  static let rand = Operator("aten::rand", "generator")
  static let randint = Operator("aten::randint", "low_generator")
  static let randperm = Operator("aten::randperm", "generator")
}

extension Tensor {
  /// A tensor with unspecified elements.
  ///
  /// - Parameters:
  ///   - shape: Size of each dimension.
  ///   - dtype: Element type.
  ///   - device: Where it lives.
  /// - Returns: A new contiguous tensor.
  public static func empty(
    _ shape: [Int], dtype: DType = .float32, device: Device = .cpu
  ) -> Tensor {
    Operators.empty(.ints(shape), .dtype(dtype), .none, .device(device))
  }

  /// A tensor of zeros.
  ///
  /// - Parameters:
  ///   - shape: Size of each dimension.
  ///   - dtype: Element type.
  ///   - device: Where it lives.
  /// - Returns: A new contiguous tensor.
  public static func zeros(
    _ shape: [Int], dtype: DType = .float32, device: Device = .cpu
  ) -> Tensor {
    Operators.zeros(.ints(shape), .dtype(dtype), .none, .device(device))
  }

  /// A tensor of ones.
  ///
  /// - Parameters:
  ///   - shape: Size of each dimension.
  ///   - dtype: Element type.
  ///   - device: Where it lives.
  /// - Returns: A new contiguous tensor.
  public static func ones(
    _ shape: [Int], dtype: DType = .float32, device: Device = .cpu
  ) -> Tensor {
    Operators.ones(.ints(shape), .dtype(dtype), .none, .device(device))
  }

  /// A tensor whose elements all have one value.
  ///
  /// - Parameters:
  ///   - shape: Size of each dimension; empty for a scalar.
  ///   - value: The value, converted to `dtype`.
  ///   - dtype: Element type.
  ///   - device: Where it lives.
  /// - Returns: A new contiguous tensor.
  public static func full(
    _ shape: [Int], _ value: Double, dtype: DType = .float32, device: Device = .cpu
  ) -> Tensor {
    Operators.full(.ints(shape), .double(value), .dtype(dtype), .none, .device(device))
  }

  /// Numbers from a start up to an end in equal steps.
  ///
  /// - Parameters:
  ///   - start: First number.
  ///   - end: Exclusive end.
  ///   - step: Distance of neighbours, not zero.
  ///   - dtype: Element type.
  ///   - device: Where it lives.
  /// - Returns: A tensor of one dimension.
  public static func arange(
    _ start: Int, _ end: Int, step: Int = 1, dtype: DType = .int64, device: Device = .cpu
  ) -> Tensor {
    Operators.arange(.int(start), .int(end), .int(step), .dtype(dtype), .none, .device(device))
  }

  /// The identity matrix.
  ///
  /// - Parameters:
  ///   - size: Rows and columns.
  ///   - dtype: Element type.
  ///   - device: Where it lives.
  /// - Returns: A tensor of shape `[size, size]`.
  public static func identity(
    _ size: Int, dtype: DType = .float32, device: Device = .cpu
  ) -> Tensor {
    Operators.eye(.int(size), .dtype(dtype), .none, .device(device))
  }

  /// Zeros with this tensor's shape, dtype and device.
  ///
  /// - Returns: A new tensor.
  public func zerosLike() -> Tensor { Operators.zerosLike(.tensor(self)) }

  /// Ones with this tensor's shape, dtype and device.
  ///
  /// - Returns: A new tensor.
  public func onesLike() -> Tensor { Operators.onesLike(.tensor(self)) }

  /// A tensor of this one's shape, dtype and device with unspecified elements.
  ///
  /// - Returns: A new tensor.
  public func emptyLike() -> Tensor { Operators.emptyLike(.tensor(self)) }

  /// Independent standard normal numbers.
  ///
  /// - Parameters:
  ///   - shape: Size of each dimension.
  ///   - dtype: Element type.
  ///   - device: Where it lives.
  ///   - generator: Source of randomness; nil for the device's default one.
  /// - Returns: A new tensor.
  public static func randomNormal(
    _ shape: [Int], dtype: DType = .float32, device: Device = .cpu, generator: Generator? = nil
  ) -> Tensor {
    Operators.randn(
      .ints(shape), .optional(generator), .dtype(dtype), .none, .device(device))
  }

  /// Independent numbers, uniform in [0, 1).
  ///
  /// - Parameters:
  ///   - shape: Size of each dimension.
  ///   - dtype: Element type.
  ///   - device: Where it lives.
  ///   - generator: Source of randomness; nil for the device's default one.
  /// - Returns: A new tensor.
  public static func randomUniform(
    _ shape: [Int], dtype: DType = .float32, device: Device = .cpu, generator: Generator? = nil
  ) -> Tensor {
    Operators.rand(
      .ints(shape), .optional(generator), .dtype(dtype), .none, .device(device))
  }

  /// Independent whole numbers, uniform in a range.
  ///
  /// - Parameters:
  ///   - range: The numbers that can occur.
  ///   - shape: Size of each dimension.
  ///   - dtype: Element type.
  ///   - device: Where it lives.
  ///   - generator: Source of randomness; nil for the device's default one.
  /// - Returns: A new tensor.
  public static func randomIntegers(
    in range: Range<Int>, _ shape: [Int], dtype: DType = .int64, device: Device = .cpu,
    generator: Generator? = nil
  ) -> Tensor {
    Operators.randint(
      .int(range.lowerBound), .int(range.upperBound), .ints(shape), .optional(generator),
      .dtype(dtype), .none, .device(device))
  }

  /// A random order of 0 ..< count.
  ///
  /// - Parameters:
  ///   - count: How many numbers.
  ///   - generator: Source of randomness; nil for the default one.
  /// - Returns: An int64 tensor of shape `[count]`.
  public static func randomPermutation(_ count: Int, generator: Generator? = nil) -> Tensor {
    Operators.randperm(.int(count), .optional(generator), .dtype(.int64))
  }
}
