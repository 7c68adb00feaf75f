private enum Operators {
  static let reshape = Operator("aten::reshape")
  static let expand = Operator("aten::expand")
  static let permute = Operator("aten::permute")
  static let transpose = Operator("aten::transpose", "int")
  static let contiguous = Operator("aten::contiguous")
  static let unsqueeze = Operator("aten::unsqueeze")
  static let squeeze = Operator("aten::squeeze", "dim")
  static let narrow = Operator("aten::narrow")
  static let select = Operator("aten::select", "int")
  static let stridedSlice = Operator("aten::slice", "Tensor")
  static let cat = Operator("aten::cat")
  static let stack = Operator("aten::stack")
  static let split = Operator("aten::split_with_sizes")
  static let repeatInterleave = Operator("aten::repeat_interleave", "self_int")
  static let tile = Operator("aten::repeat")
  static let flip = Operator("aten::flip")
  static let roll = Operator("aten::roll")
  static let toDType = Operator("aten::to", "dtype")
  static let toDevice = Operator("aten::to", "dtype_layout")
  static let detach = Operator("aten::detach")
  static let clone = Operator("aten::clone")
  static let diagonal = Operator("aten::diagonal")
}

extension Tensor {
  /// The same elements as a matrix of rows of the last dimension.
  ///
  /// - Returns: `[count / size(-1), size(-1)]`, a view where the memory layout allows it, else a copy.
  public func rows() -> Tensor {
    // Not -1, which is ambiguous where rows are empty.
    reshaped([shape.dropLast().reduce(1, *), size(-1)])
  }

  /// The same elements in another shape.
  ///
  /// - Parameter shape: Size of each dimension; one may be -1 and is then worked out.
  /// - Returns: A view where the memory layout allows it, else a copy.
  public func reshaped(_ shape: [Int]) -> Tensor {
    Operators.reshape(.tensor(self), .ints(shape))
  }

  /// Dimensions of size one repeated without copying.
  ///
  /// - Parameter shape: Size of each dimension; -1 keeps one.
  /// - Returns: A view.
  public func expanded(_ shape: [Int]) -> Tensor {
    Operators.expand(.tensor(self), .ints(shape))
  }

  /// Dimensions in another order.
  ///
  /// - Parameter order: For each new dimension the index of the old one.
  /// - Returns: A view.
  public func permuted(_ order: [Int]) -> Tensor {
    Operators.permute(.tensor(self), .ints(order))
  }

  /// Two dimensions exchanged; the last two unless others are named.
  ///
  /// - Parameters:
  ///   - first: One dimension.
  ///   - second: The other dimension.
  /// - Returns: A view.
  public func transposed(_ first: Int = -2, _ second: Int = -1) -> Tensor {
    Operators.transpose(.tensor(self), .int(first), .int(second))
  }

  /// The elements in row-major order without gaps.
  ///
  /// - Returns: This tensor's memory where it already is so, else a copy.
  public func contiguous() -> Tensor { Operators.contiguous(.tensor(self)) }

  /// A dimension of size one put in.
  ///
  /// - Parameter dimension: Its index in the result.
  /// - Returns: A view.
  public func unsqueezed(_ dimension: Int) -> Tensor {
    Operators.unsqueeze(.tensor(self), .int(dimension))
  }

  /// A dimension of size one taken out.
  ///
  /// - Parameter dimension: Its index.
  /// - Returns: A view.
  public func squeezed(_ dimension: Int) -> Tensor {
    Operators.squeeze(.tensor(self), .int(dimension))
  }

  /// A range of one dimension.
  ///
  /// - Parameters:
  ///   - dimension: Its index.
  ///   - range: Which part of it.
  /// - Returns: A view.
  public func narrowed(_ dimension: Int, _ range: Range<Int>) -> Tensor {
    Operators.narrow(.tensor(self), .int(dimension), .int(range.lowerBound), .int(range.count))
  }

  /// One slice, its dimension gone.
  ///
  /// - Parameters:
  ///   - dimension: The dimension.
  ///   - index: Which slice; negative ones count from the last.
  /// - Returns: A view.
  public func selected(_ dimension: Int, _ index: Int) -> Tensor {
    Operators.select(.tensor(self), .int(dimension), .int(index))
  }

  /// Every step-th slice of a range.
  ///
  /// - Parameters:
  ///   - dimension: The dimension.
  ///   - start: First slice.
  ///   - end: Exclusive end.
  ///   - step: Distance of slices, positive.
  /// - Returns: A view.
  public func strided(_ dimension: Int, from start: Int, to end: Int, by step: Int) -> Tensor {
    Operators.stridedSlice(
      .tensor(self), .int(dimension), .int(start), .int(end), .int(step))
  }

  /// Tensors joined along a dimension that they have.
  ///
  /// - Parameters:
  ///   - tensors: At least one tensor; shapes agree but for that dimension.
  ///   - dimension: The dimension.
  /// - Returns: A new tensor.
  public static func concatenated(_ tensors: [Tensor], dimension: Int = 0) -> Tensor {
    Operators.cat(.tensors(tensors), .int(dimension))
  }

  /// Tensors of one shape joined along a new dimension.
  ///
  /// - Parameters:
  ///   - tensors: At least one tensor.
  ///   - dimension: Index of the new dimension.
  /// - Returns: A new tensor.
  public static func stacked(_ tensors: [Tensor], dimension: Int = 0) -> Tensor {
    Operators.stack(.tensors(tensors), .int(dimension))
  }

  /// Parts of one dimension.
  ///
  /// - Parameters:
  ///   - sizes: Size of each part; they add up to the dimension's.
  ///   - dimension: The dimension.
  /// - Returns: One view for each part.
  public func split(_ sizes: [Int], dimension: Int) -> [Tensor] {
    Operators.split.tensors([.tensor(self), .ints(sizes), .int(dimension)])
  }

  /// Each slice repeated, copies next to each other.
  ///
  /// - Parameters:
  ///   - count: How often.
  ///   - dimension: The dimension.
  /// - Returns: A new tensor.
  public func repeatedInterleaved(_ count: Int, dimension: Int) -> Tensor {
    Operators.repeatInterleave(.tensor(self), .int(count), .int(dimension))
  }

  /// The whole tensor repeated along each dimension.
  ///
  /// - Parameter counts: How often, for each dimension.
  /// - Returns: A new tensor.
  public func tiled(_ counts: [Int]) -> Tensor { Operators.tile(.tensor(self), .ints(counts)) }

  /// The order of slices turned round.
  ///
  /// - Parameter dimensions: Along which dimensions.
  /// - Returns: A new tensor.
  public func flipped(_ dimensions: [Int]) -> Tensor {
    Operators.flip(.tensor(self), .ints(dimensions))
  }

  /// The main diagonal of the last two dimensions.
  ///
  /// - Returns: A view of shape `[..., min(rows, columns)]`.
  public func diagonal() -> Tensor {
    Operators.diagonal(.tensor(self), .int(0), .int(-2), .int(-1))
  }

  /// The elements converted to another type.
  ///
  /// - Parameter dtype: The type.
  /// - Returns: This tensor itself where it already has the type, else a new one.
  public func to(_ dtype: DType) -> Tensor {
    self.dtype == dtype ? self : Operators.toDType(.tensor(self), .dtype(dtype))
  }

  /// The elements on another device.
  ///
  /// - Parameter device: Where.
  /// - Returns: This tensor itself where it already is there, else a new one.
  public func to(device: Device) -> Tensor {
    if self.device == device { return self }
    return Operators.toDevice(.tensor(self), .none, .none, .device(device))
  }

  /// The same memory without a history.
  ///
  /// - Returns: A view that gradients do not flow through.
  public func detached() -> Tensor { Operators.detach(.tensor(self)) }

  /// A copy of the elements, through which gradients flow.
  ///
  /// - Returns: A new tensor.
  public func cloned() -> Tensor { Operators.clone(.tensor(self)) }
}
