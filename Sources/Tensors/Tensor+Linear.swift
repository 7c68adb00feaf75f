private enum Operators {
  static let linear = Operator("aten::linear")
  /// oneDNN's product of float32 matrices; nil where LibTorch was built without it.
  static let oneDNNLinear = Operator(ifPresent: "mkldnn::_linear_pointwise")
  /// The same with a sum.
  static let oneDNNLinearSum = Operator(ifPresent: "mkldnn::_linear_pointwise", "binary")
}

extension Tensor {
  /// x W^T + b, the product of a linear layer.
  ///
  /// The backward pass keeps x only where W is trained. ``Runtime/usesFastProducts`` decides what
  /// computes it.
  ///
  /// ## Shapes
  /// - self: `[..., inputSize]`, weight: `[outputSize, inputSize]`, bias: `[outputSize]`,
  ///   result: `[..., outputSize]`.
  ///
  /// - Parameters:
  ///   - weight: W, of any strides.
  ///   - bias: b, or nil for none.
  /// - Returns: A new tensor.
  public func linear(_ weight: Tensor, bias: Tensor? = nil) -> Tensor {
    guard usesFastProduct(weight) else {
      return Operators.linear(.tensor(self), .tensor(weight), .optional(bias))
    }
    let inputs = [self, weight] + (bias.map { [$0] } ?? [])
    guard isRecordingGradients, inputs.contains(where: \.requiresGradient) else {
      return fastProduct(weight, bias)
    }
    return differentiable("Linear", inputs) { inputs in
      let (x, weight) = (inputs[0], inputs[1])
      let rows = weight.requiresGradient ? x.reshaped([-1, x.size(-1)]) : nil
      let needsInput = x.requiresGradient
      let needsBias = bias?.requiresGradient ?? false
      return (
        x.fastProduct(weight, bias),
        { gradient in
          let flat = gradient.reshaped([-1, gradient.size(-1)])  // [N, out]
          return [
            needsInput ? gradient.linear(weight.transposed()) : nil,
            rows.map { flat.transposed().linear($0.transposed()) },
          ] + (bias == nil ? [] : [needsBias ? flat.sum([0]) : nil])
        }
      )
    }
  }

  private func fastProduct(_ weight: Tensor, _ bias: Tensor?) -> Tensor {
    // What a tensor's strides are must not change the bits: a run that goes on may have others.
    if Self.hasFloat32Kernel, bias?.device.kind ?? .cpu == .cpu {
      return rowsForKernel.kernelProduct(
        isMultipliedByKernel(weight) ? weight : weight.contiguous(), bias: bias)
    }
    guard let product = Operators.oneDNNLinear else {
      return Operators.linear(.tensor(self), .tensor(weight), .optional(bias))
    }
    // Of a weight with gaps between its rows, such as columns cut from a wider one, oneDNN makes a
    // plain loop of about a thousand times the time; a copy costs next to nothing.
    let isDense = weight.isContiguous || weight.transposed().isContiguous
    return product(
      .tensor(self), .tensor(isDense ? weight : weight.contiguous()), .optional(bias),
      .string("none"), .optionalNumbers([]), .string(""))
  }

  private var rowsForKernel: Tensor { rank == 2 ? self : contiguous() }

  /// x W^T + sum, of tensors that record nothing.
  ///
  /// - Parameters:
  ///   - weight: W, `[outputSize, inputSize]`, of any strides.
  ///   - sum: `[..., outputSize]`, contiguous; it may be written to.
  /// - Returns: `[..., outputSize]`, perhaps in the sum's memory.
  package func linear(_ weight: Tensor, addedTo sum: Tensor) -> Tensor {
    let isFast = usesFastProduct(weight)
    if isFast, Self.hasFloat32Kernel, sum.dtype == .float32, sum.isContiguous {
      return rowsForKernel.kernelProduct(
        isMultipliedByKernel(weight) ? weight : weight.contiguous(), into: sum, adds: true)
    }
    guard isFast, weight.isContiguous || weight.transposed().isContiguous,
      let product = Operators.oneDNNLinearSum
    else {
      sum.rows().addMatrixProductInPlace(rows(), weight.transposed())
      return sum
    }
    return product(
      .tensor(self), .tensor(sum), .tensor(weight), .none, .string("add"))
  }

  /// Whether the product is one that our kernel or oneDNN is faster at than LibTorch's default.
  private func usesFastProduct(_ weight: Tensor) -> Bool {
    #if arch(x86_64)
      guard Runtime.usesFastProducts, dtype == .float32, weight.dtype == .float32,
        device.kind == .cpu, weight.device.kind == .cpu, weight.rank == 2, rank >= 2
      else { return false }
      // Below these many multiplications the set-up costs more than it gains.
      let multiplications = count * weight.size(0)
      return Self.hasFloat32Kernel
        ? multiplications > 1 << 15
        : multiplications > 1 << 19 && Operators.oneDNNLinear != nil
    #else
      return false
    #endif
  }
}

private let lstmOperator = Operator("aten::lstm", "input")

extension Tensor {
  /// One bidirectional layer of an LSTM that begins at zero.
  ///
  /// ## Shapes
  /// - self: `[batch, length, input]`; weights, for each direction: `[4 size, input]`,
  ///   `[4 size, size]` and two biases `[4 size]`; result: `[batch, length, 2 size]`, forth then back.
  ///
  /// - Parameters:
  ///   - size: Hidden numbers of one direction.
  ///   - weights: The eight weights, gates in the order input, forget, cell, output.
  /// - Returns: The hidden numbers at every place.
  /// - Note: Source: Hochreiter and Schmidhuber 1997, doi 10.1162/neco.1997.9.8.1735, as LibTorch has it.
  public func bidirectionalLSTM(size: Int, _ weights: [Tensor]) -> Tensor {
    let begin = Tensor.zeros([2, self.size(0), size], dtype: dtype, device: device)
    return lstmOperator.tensors([
      .tensor(self), .tensors([begin, begin]), .tensors(weights), .bool(true), .int(1), .double(0),
      .bool(false), .bool(true), .bool(true),
    ])[0]
  }
}
