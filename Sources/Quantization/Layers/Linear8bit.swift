public import Layers
public import Tensors

/// A linear projection with int8 weights and int8 activations (LLM.int8()).
///
/// Each row of x and of W is whole numbers over its largest magnitude. Columns of x with an element
/// of at least the threshold are multiplied in float32 instead. The numbers are the same in training
/// and in evaluation, and W never exists as more than its codes, except for one layer's copy in a
/// backward pass that is not in whole numbers. Off the processor the decoded W is multiplied with x as it is.
///
/// - Note: Source: Dettmers et al. 2022, arXiv 2208.07339. Unlike bitsandbytes 0.50.2, whose training
///   forward on a processor multiplies the dequantised weight instead.
public final class Linear8bit: LinearProjection {
  /// W in row codes, `[outputSize, inputSize]`.
  public let weight: RowCodes
  /// b, `[outputSize]`, or nil.
  public var bias: Parameter?
  /// Magnitude from which an element of x is an outlier; 0 for none.
  public let threshold: Double
  /// Type of W as numbers.
  public let dtype: DType
  /// How the gradient of the input is computed.
  public var inputGradient = InputGradient.dequantized

  /// Makes a projection over stored codes.
  ///
  /// - Parameters:
  ///   - weight: `[outputSize, inputSize]`, without outliers.
  ///   - bias: `[outputSize]`, or nil.
  ///   - threshold: Magnitude from which an element of x is an outlier; 0 for none.
  public init(weight: RowCodes, bias: Parameter? = nil, threshold: Double = 6) {
    self.weight = weight
    self.bias = bias
    self.threshold = threshold
    dtype = weight.dtype
  }

  /// Quantises a weight as ``RowCodes/init(quantizingWeight:)`` does.
  ///
  /// - Parameters:
  ///   - weight: `[outputSize, inputSize]` of a floating-point type.
  ///   - bias: `[outputSize]`, or nil.
  ///   - threshold: Magnitude from which an element of x is an outlier; 0 for none.
  public convenience init(quantizing weight: Tensor, bias: Parameter? = nil, threshold: Double = 6)
  {
    self.init(weight: RowCodes(quantizingWeight: weight), bias: bias, threshold: threshold)
  }

  /// Size of the last dimension of inputs.
  public var inputSize: Int { weight.codes.size(1) }
  /// Size of the last dimension of outputs.
  public var outputSize: Int { weight.codes.size(0) }
  /// Where the codes live.
  public var device: Device { weight.codes.device }

  /// y = x W^T + b.
  ///
  /// - Parameter x: `[..., inputSize]`.
  /// - Returns: `[..., outputSize]`, of x's type.
  public func callAsFunction(_ x: Tensor) -> Tensor {
    frozenProduct(
      "Linear8bit", x, bias: bias?.value, forward: forward, inputGradient: { self.pulledBack($0) })
  }

  private func forward(_ x: Tensor, _ bias: Tensor?) -> Tensor {
    guard device.kind == .cpu else { return x.linear(weight.dequantized(x.dtype), bias: bias) }
    let rows = x.rows()
    let codes = RowCodes(
      quantizing: rows.dtype == .float64 ? rows.to(.float32) : rows, threshold: threshold,
      needsSums: true)
    return codes.multiplied(by: weight, bias: bias).to(x.dtype)
      .reshaped(x.shape.dropLast() + [outputSize])
  }

  /// As ``inputGradient`` says.
  ///
  /// - Parameter gradient: `[..., outputSize]`.
  /// - Returns: `[..., inputSize]`.
  public func pulledBack(_ gradient: Tensor) -> Tensor {
    if let found = wholeNumberGradient(gradient) {
      return found.reshaped(gradient.shape.dropLast() + [inputSize])
    }
    let narrow = gradient.to(quantizableType(gradient.dtype))
    return narrow.linear(weight.dequantized(narrow.dtype).transposed())
  }

  /// They do, but for which columns are outliers.
  public var treatsRowsAlone: Bool { true }

  /// The projection itself, where the bias is not trained.
  public var explicitForm: ExplicitProjection? {
    bias?.isTrainable == true ? nil : ExplicitProjection(base: self)
  }

  /// W as numbers.
  ///
  /// - Returns: A new tensor, `[outputSize, inputSize]`.
  public func denseWeight() -> Tensor { weight.dequantized(dtype) }

  /// Quantises another weight in the same way.
  ///
  /// - Parameter weight: `[outputSize, inputSize]`.
  /// - Returns: A new projection with the same bias.
  public func replacing(weight: Tensor) -> any LinearProjection {
    let made = Linear8bit(quantizing: weight.to(dtype), bias: bias, threshold: threshold)
    made.inputGradient = inputGradient
    return made
  }

  /// `weight` (the codes), `SCB` (the rows' largest magnitudes) and `weight_format` (0: by row).
  public var storedTensors: [(name: String, tensor: Tensor)] {
    weight.storedTensors + [("weight_format", Tensor([UInt8(0)], shape: []))]
  }

  /// Elements of W.
  public var storedCount: Int { weight.codes.count }

  /// Codes and scales.
  public var heldTensors: [Tensor] { weight.heldTensors }

  /// `bias`, where there is one.
  ///
  /// - Parameter transform: Gets the parameter's name.
  public func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    bias = bias.map { transform("bias", $0) }
  }
}

extension Linear8bit: QuantizedProjection {
  package func rowCodes() -> RowCodes { weight }

  /// A quarter of the time of a product in float32.
  package var isQuick: Bool { true }

  /// With the rows quantised once.
  package func outputs(
    _ rows: Tensor, of group: [any LinearProjection], adding terms: [NarrowTerm?],
    into memory: [Tensor]?
  ) -> [Tensor]? {
    let layers = group.compactMap { $0 as? Linear8bit }
    guard layers.count == group.count, rows.dtype == .float32, rows.device.kind == .cpu,
      layers.allSatisfy({ $0.threshold == threshold && $0.device.kind == .cpu })
    else { return nil }
    let codes = RowCodes(quantizing: rows, threshold: threshold, needsSums: true)
    return layers.indices.map { index in
      codes.multiplied(
        by: layers[index].weight, bias: layers[index].bias?.value, adding: terms[index],
        into: memory?[index])
    }
  }
}
