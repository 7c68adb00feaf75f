import JSONValues
import Layers
import Tensors

/// A low-rank update of a convolution: s B (A x) with A a convolution of the base's kernel, stride,
/// padding and dilation to `rank` channels and B one of kernel 1 with the base's groups.
///
/// A sees all input channels whatever the groups, as in PEFT, so that the update of a grouped layer is
/// no kernel of its own and cannot be merged. PEFT leaves the dilation out, and fails where there is
/// one.
final class ConvolutionLoRA: ConvolutionAdapter {
  let a: Parameter  // [rank, in, kernel...]
  let b: Parameter  // [out, rank / groups, 1...]
  private let bias: Parameter?  // [out]
  private let magnitude: Parameter?  // [1, out, 1...]
  private let base: any ConvolutionKernels
  private let scale: Double
  private let dropout: Double

  init(
    _ config: LoRAConfig, a: Parameter, b: Parameter, bias: Parameter?, scale: Double,
    base: any ConvolutionKernels, isLoading: Bool
  ) {
    (self.a, self.b, self.bias, self.scale, self.base) = (a, b, bias, scale, base)
    dropout = config.dropout
    let shape = [1, base.weight.size(0)] + base.steps.stride.map { _ in 1 }
    magnitude =
      !config.usesDoRA
      ? nil
      : Parameter(
        isLoading
          ? .empty(shape, dtype: a.value.dtype, device: .meta)
          : Self.norms(base, a: a, b: b, scale: scale))
  }

  var parameters: [AdapterParameter] {
    var result = [AdapterParameter("lora_A.weight", a), AdapterParameter("lora_B.weight", b)]
    if let bias { result.append(AdapterParameter("lora_B.bias", bias)) }
    if let magnitude { result.append(AdapterParameter("lora_magnitude_vector", magnitude)) }
    return result
  }

  func obstacle(toMergingInto base: any ConvolutionKernels) -> String? {
    if base.steps.groups > 1 { return "has its channels in \(base.steps.groups) groups" }
    return bias != nil && base.bias == nil ? "has no bias to add lora_bias to" : nil
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any ConvolutionKernels, _ context: AdapterContext
  ) -> Tensor {
    let wide = a.value.dtype
    let dropped = context.dropped(x, dropout)
    let update = update(dropped.to(wide))
    guard let factors = channelFactors() else { return y.adding(wide: update) }
    let baseBias = base.bias?.value.to(wide).reshaped([1, -1] + base.steps.stride.map { _ in 1 })
    func withoutBias(_ y: Tensor) -> Tensor { baseBias.map { y.to(wide) - $0 } ?? y.to(wide) }
    let isDropping = context.isTraining && dropout > 0
    let product = withoutBias(isDropping ? base(dropped) : y)
    let scaled = (product + update) * factors
    guard isDropping else { return (baseBias.map { scaled + $0 } ?? scaled).to(y.dtype) }
    return (y.to(wide) + scaled - product).to(y.dtype)
  }

  private func update(_ x: Tensor) -> Tensor {
    let steps = base.steps
    let ones = steps.stride.map { _ in 1 }
    let narrow = x.convolved(
      a.value, stride: steps.stride, padding: steps.padding, dilation: steps.dilation)
    return narrow.convolved(
      b.value, bias: bias?.value, stride: ones, padding: ones.map { _ in 0 }, dilation: ones,
      groups: steps.groups) * scale
  }

  func merge(into layer: inout MergedLayer) {
    withoutGradients {
      layer.weight.addInPlace(Self.delta(base, a: a, b: b, scale: scale).to(layer.weight.dtype))
      if let factors = channelFactors() {
        layer.weight.multiplyInPlace(factors.transposed(0, 1).to(layer.weight.dtype))
      }
      if let bias { layer.bias?.addInPlace(bias.value, scale: scale) }
    }
  }

  private func channelFactors() -> Tensor? {
    magnitude.map {
      $0.value / Self.norms(base, a: a, b: b, scale: scale).clamped(lower: 1e-30)
    }
  }

  /// s B A as kernels, for a layer without groups.
  private static func delta(
    _ base: any ConvolutionKernels, a: Parameter, b: Parameter, scale: Double
  ) -> Tensor {
    let rank = a.value.size(0)
    return b.value.reshaped([-1, rank]).matrixProduct(a.value.reshaped([rank, -1]))
      .reshaped(base.weight.shape) * scale
  }

  /// Norms of the updated kernels, `[1, out, 1...]`.
  private static func norms(
    _ base: any ConvolutionKernels, a: Parameter, b: Parameter, scale: Double
  ) -> Tensor {
    withoutGradients {
      let sum = base.weight.detached().to(a.value.dtype) + delta(base, a: a, b: b, scale: scale)
      return sum.norm(Array(1..<sum.rank), keepDimensions: true).transposed(0, 1).contiguous()
    }
  }
}

extension LoRAConfig: ConvolutionMethod {
  func adapter(for site: ConvolutionSite) throws(AdapterError) -> any ConvolutionAdapter {
    let (weight, groups) = (site.base.weight, site.base.steps.groups)
    let rank = try rankPattern.value(for: site.path, default: rank)
    let place = "for \(site.path), a convolution"
    try require(
      "init_lora_weights \(place)",
      [.standard, .gaussian, .random, .loraGA].contains(initialization), "true, false or gaussian",
      initialization.json.serialized())
    let variant = variants.first { $0 != "use_dora" }
    try require("\(variant ?? "") \(place)", variant == nil, "none", "set")
    try require(
      "rank (r) \(place)", rank.isMultiple(of: groups), "a multiple of its \(groups) groups", rank)
    try require("use_dora \(place)", groups == 1 || !usesDoRA, "false with groups", true)
    let inner = rank / groups
    let aShape = [rank, weight.size(1) * groups] + weight.shape.dropFirst(2)
    let bShape = [weight.size(0), inner] + weight.shape.dropFirst(2).map { _ in 1 }
    let isRandom = initialization == .random
    let a =
      initialization == .gaussian
      ? site.normal(aShape, deviation: 1 / Double(rank)) : site.linearUniform(aShape)
    let b = isRandom ? site.linearUniform(bShape) : site.zeros(bShape)
    let bias =
      !usesBias
      ? nil
      : isRandom
        ? site.uniform([bShape[0]], bound: 1 / Double(inner).squareRoot())
        : site.zeros([bShape[0]])
    return ConvolutionLoRA(
      self, a: a, b: b, bias: bias, scale: try scale(ofLayer: site.path, rank: rank),
      base: site.base, isLoading: site.isLoading)
  }
}
