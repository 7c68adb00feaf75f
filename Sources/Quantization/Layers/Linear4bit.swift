import CKernels
public import Layers
public import Tensors

/// A linear projection with weights in codes of 4 bits.
///
/// W is decoded for each product and forgotten, so that no more than one layer's decoded weight is
/// alive; for few rows, as in generation, the product reads the codes themselves.
///
/// The product is computed in float32 unless ``productType`` says otherwise. With x in bfloat16 it is computed
/// in bfloat16 where the processor multiplies that, else in float32 and rounded once.
///
/// - Note: Source: Dettmers et al. 2023, arXiv 2305.14314 (QLoRA).
public final class Linear4bit: LinearProjection {
  /// W in codes, of shape `[outputSize, inputSize]`.
  public let weight: FourBitCodes
  /// b, `[outputSize]`, or nil.
  public var bias: Parameter?

  /// How the gradient of the input is computed.
  public var inputGradient = InputGradient.dequantized

  /// Type that products with more than a few rows of float32 are computed in: float32, bfloat16 or int8.
  ///
  /// Sums are float32. bitsandbytes calls it `bnb_4bit_compute_dtype`, and has no int8. Processors that
  /// do not multiply bfloat16 compute in float32. With int8, x is rounded by rows but for the 16 columns
  /// with the largest magnitudes, and W is rounded by rows as for ``InputGradient/int8``, which those
  /// columns meet in float32: by at most s / 254, s its row's largest magnitude, where the codes
  /// themselves are off by up to a sixth of their block's.
  public var productType = DType.float32

  /// Rows up to which reading the codes is faster than decoding them for a product of matrices.
  static let fewRows = 16

  /// Makes a projection over stored codes.
  ///
  /// - Parameters:
  ///   - weight: Codes of a matrix `[outputSize, inputSize]`.
  ///   - bias: `[outputSize]`, or nil.
  public init(weight: FourBitCodes, bias: Parameter? = nil) {
    precondition(weight.shape.count == 2, "Linear4bit: a weight of shape \(weight.shape)")
    self.weight = weight
    self.bias = bias
  }

  /// Quantises a weight.
  ///
  /// - Parameters:
  ///   - weight: `[outputSize, inputSize]` of a floating-point type.
  ///   - bias: `[outputSize]`, or nil.
  ///   - type: What codes mean.
  ///   - blockSize: Elements of a block, one of ``FourBitCodes/blockSizes``.
  ///   - doubleQuantization: Whether the magnitudes of blocks are quantised too.
  public convenience init(
    quantizing weight: Tensor, bias: Parameter? = nil, type: FourBitType = .nf4,
    blockSize: Int = 64, doubleQuantization: Bool = false
  ) {
    let dense = weight.to(quantizableType(weight.dtype))
    self.init(
      weight: FourBitCodes(
        quantizing: dense, type: type, blockSize: blockSize,
        doubleQuantization: doubleQuantization), bias: bias)
  }

  /// Size of the last dimension of inputs.
  public var inputSize: Int { weight.shape[1] }
  /// Size of the last dimension of outputs.
  public var outputSize: Int { weight.shape[0] }
  /// Type of the weight that was quantised.
  public var dtype: DType { weight.dtype }
  /// Where the codes live.
  public var device: Device { weight.bytes.device }

  /// y = x W^T + b.
  ///
  /// - Parameter x: `[..., inputSize]`.
  /// - Returns: `[..., outputSize]`, of x's type.
  public func callAsFunction(_ x: Tensor) -> Tensor {
    frozenProduct(
      "Linear4bit", x, bias: bias?.value, forward: forward, inputGradient: { self.pulledBack($0) })
  }

  /// By the decoded weight, or as ``inputGradient`` says.
  ///
  /// - Parameter gradient: `[..., outputSize]`.
  /// - Returns: `[..., inputSize]`, of the type that the layer computes in.
  public func pulledBack(_ gradient: Tensor) -> Tensor {
    if let found = wholeNumberGradient(gradient) {
      return found.reshaped(gradient.shape.dropLast() + [inputSize])
    }
    let wide = gradient.to(computeType(gradient.dtype))
    return wide.linear(weight.dequantized(wide.dtype).transposed())
  }

  /// As one product with a sum, where it is computed in float32.
  public func pulledBack(_ gradient: Tensor, addedTo sum: Tensor) -> Tensor {
    guard case .dequantized = inputGradient, gradient.dtype == .float32, sum.dtype == .float32
    else { return sum.addInPlace(pulledBack(gradient)) }
    return gradient.linear(weight.dequantized(.float32).transposed(), addedTo: sum)
  }

  /// They do.
  public var treatsRowsAlone: Bool { true }

  /// The projection itself, where the bias is not trained.
  public var explicitForm: ExplicitProjection? {
    bias?.isTrainable == true ? nil : ExplicitProjection(base: self)
  }

  private func forward(_ x: Tensor, _ bias: Tensor?) -> Tensor {
    let wide = x.to(computeType(x.dtype))
    let bias = bias?.to(wide.dtype)
    let rows = wide.count / max(inputSize, 1)
    guard device.kind == .cpu, wide.dtype == .float32, rows <= Self.fewRows else {
      if multipliesWholeNumbers(wide) {
        return quantized(wide.rows()).multiplied(by: weight.rowCodes(), bias: bias)
          .reshaped(x.shape.dropLast() + [outputSize]).to(x.dtype)
      }
      if multipliesRounded(wide) {
        let product = BFloat16Rows(rounding: wide.rows()).multiplied(
          byRowsOf: weight.dequantized(.bfloat16))
        let result = bias.map { product.addInPlace($0) } ?? product
        return result.reshaped(x.shape.dropLast() + [outputSize]).to(x.dtype)
      }
      return wide.linear(weight.dequantized(wide.dtype), bias: bias).to(x.dtype)
    }
    return weight.product(wide.rows(), bias: bias)
      .reshaped(x.shape.dropLast() + [outputSize]).to(x.dtype)
  }

  /// Whether a product with these rows is computed as ``productType`` says in bfloat16.
  private func multipliesRounded(_ x: Tensor) -> Bool {
    productType == .bfloat16 && BFloat16Rows.isSupported && isMany(x)
  }

  /// Whether a product with these rows is computed as ``productType`` says in whole numbers.
  private func multipliesWholeNumbers(_ x: Tensor) -> Bool { productType == .int8 && isMany(x) }

  private func isMany(_ x: Tensor) -> Bool {
    device.kind == .cpu && x.dtype == .float32 && x.count / max(inputSize, 1) > Self.fewRows
  }

  private func quantized(_ rows: Tensor) -> RowCodes { RowCodes(CodedInput(rows)) }

  /// The type that products of inputs of a type are computed in.
  private func computeType(_ type: DType) -> DType {
    guard device.kind == .cpu else { return type }
    return type == .bfloat16 && graft_has_bfloat16_product() ? .bfloat16 : .float32
  }

  /// W as numbers.
  ///
  /// - Returns: A new tensor, `[outputSize, inputSize]`.
  public func denseWeight() -> Tensor { weight.dequantized() }

  /// Quantises another weight in the same way.
  ///
  /// - Parameter weight: `[outputSize, inputSize]`.
  /// - Returns: A new projection with the same bias.
  public func replacing(weight: Tensor) -> any LinearProjection {
    let codes = self.weight
    let made = Linear4bit(
      quantizing: weight.to(dtype), bias: bias, type: codes.type, blockSize: codes.blockSize,
      doubleQuantization: codes.scales.areQuantized)
    made.inputGradient = inputGradient
    made.productType = productType
    return made
  }

  /// Codes, scales and tables, under bitsandbytes' names.
  public var storedTensors: [(name: String, tensor: Tensor)] { weight.storedTensors }

  /// Elements of W.
  public var storedCount: Int { weight.count }

  /// Codes and scales.
  public var heldTensors: [Tensor] { weight.heldTensors }

  /// `bias`, where there is one.
  ///
  /// - Parameter transform: Gets the parameter's name.
  public func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    bias = bias.map { transform("bias", $0) }
  }
}

extension Linear4bit: QuantizedProjection {
  package func rowCodes() -> RowCodes { weight.rowCodes() }

  /// With the rows rounded or quantised once, where products are not computed in float32.
  package func outputs(
    _ rows: Tensor, of group: [any LinearProjection], adding terms: [NarrowTerm?],
    into memory: [Tensor]?
  ) -> [Tensor]? {
    let layers = group.compactMap { $0 as? Linear4bit }
    guard layers.count == group.count else { return nil }
    if layers.allSatisfy({ $0.multipliesWholeNumbers(rows) }) {
      let codes = quantized(rows)
      return layers.indices.map { index in
        codes.multiplied(
          by: layers[index].weight.rowCodes(), bias: layers[index].bias?.value,
          adding: terms[index], into: memory?[index])
      }
    }
    guard layers.allSatisfy({ $0.multipliesRounded(rows) }) else { return nil }
    let rounded = BFloat16Rows(rounding: rows)
    return layers.indices.map { index in
      let product = rounded.multiplied(
        byRowsOf: layers[index].weight.dequantized(.bfloat16), adding: terms[index],
        into: memory?[index])
      return layers[index].bias.map { product.addInPlace($0.value.detached()) } ?? product
    }
  }
}

extension Module {
  /// Decides for all layers in 4-bit codes below this module what type they compute products in.
  ///
  /// - Parameter type: float32, bfloat16 or int8.
  public func setFourBitProductTypes(_ type: DType) {
    for (_, module) in modules() {
      let layer: any Module = (module as? Linear)?.projection ?? module
      (layer as? Linear4bit)?.productType = type
    }
  }
}
