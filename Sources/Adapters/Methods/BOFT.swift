import JSONValues
import Layers
import Tensors

/// Configuration of orthogonal butterfly fine-tuning: W becomes diag(s) W B^T, B being a product of
/// block-diagonal rotations between permutations of the inputs; the bias is not scaled.
///
/// With m factors, B = B(m-1) ... B1 B0 and Bi = Pi diag(R1 ... Rn) Pi^T, where Pi deals out the half
/// blocks of each 2^i blocks, even ones first. Each R is (I - S) (I + S)^-1 with the skew-symmetric
/// part S of a trained matrix.
///
/// PEFT computes several factors only with its compiled CUDA extension; without it PEFT quietly uses
/// one, although its configuration says otherwise. Here the factors are what is asked for on every
/// device, and a file with fewer is refused for its shapes.
///
/// Source: Liu et al. 2023, arXiv 2311.06243. Defaults are those of PEFT 0.21.2.
public struct BOFTConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "BOFT"

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// Inputs in a block; 0 for as many as `blockCount` gives.
  public var blockSize = 4
  /// Blocks of a factor; 0 for as many as `blockSize` gives.
  public var blockCount = 0
  /// Number of factors.
  public var factorCount = 1
  /// Share of the blocks of one factor, drawn in each step of training, that do not rotate; rounded
  /// down to whole blocks.
  public var blockDropout = 0.0
  /// Whether the trained matrices start as zero and s as one, which change nothing, instead of with
  /// normal numbers.
  public var hasStandardInitialization = true

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Makes a configuration.
  ///
  /// - Parameters:
  ///   - blockSize: Inputs in a block.
  ///   - factorCount: Number of factors.
  ///   - targetModules: Layers that get an adapter; nil for PEFT's default.
  public init(blockSize: Int, factorCount: Int = 1, targetModules: TargetModules? = nil) {
    self.blockSize = blockSize
    self.factorCount = factorCount
    selection.targetModules = targetModules
  }

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("boft_block_size", \.blockSize), .integer("boft_block_num", \.blockCount),
      .integer("boft_n_butterfly_factor", \.factorCount), .number("boft_dropout", \.blockDropout),
      .flag("init_weights", \.hasStandardInitialization), .targetModules, .excludeModules,
      .layersToTransform, .layersPattern, .bias, .modulesToSave, .fanInFanOut,
    ]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try require("boft_block_size", blockSize >= 0, "a number of inputs, or 0", blockSize)
    try require("boft_block_num", blockCount >= 0, "a number of blocks, or 0", blockCount)
    try require(
      "boft_block_size and boft_block_num", (blockSize == 0) != (blockCount == 0),
      "one of them, the other 0", "\(blockSize) and \(blockCount)")
    try requirePositive("boft_n_butterfly_factor", factorCount)
    try require(
      "boft_dropout", (0..<1).contains(blockDropout), "at least 0 and below 1", blockDropout)
  }
}

extension BOFTConfig: KernelMatrixMethod {
  static var kernelDimensions: ClosedRange<Int> { 2...2 }

  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let inputs = site.inputSize
    let (field, given) =
      blockSize > 0 ? ("boft_block_size", blockSize) : ("boft_block_num", blockCount)
    guard inputs % given == 0 else {
      throw misfit(
        site, field: field, expected: "a divisor of its \(inputs) inputs", actual: "\(given)")
    }
    let size = blockSize > 0 ? blockSize : inputs / blockCount
    let count = inputs / size
    if factorCount > 1 {
      let shift = factorCount - 1
      guard size % 2 == 0, shift < Int.bitWidth - 1, count % (1 << shift) == 0 else {
        throw misfit(
          site, field: "boft_n_butterfly_factor",
          expected: "a number m for which its \(count) blocks of \(size) inputs have an even size "
            + "and a count that 2^(m-1) divides", actual: "\(factorCount)")
      }
    }
    let shape = [factorCount, count, size, size]
    let outputs = site.kernel == nil ? [site.outputSize, 1] : [1, site.outputSize]
    return BOFTAdapter(
      hasStandardInitialization ? site.zeros(shape) : site.normal(shape, deviation: 0.1),
      scales: hasStandardInitialization
        ? site.constant(outputs, 1) : Parameter(site.normal(outputs, deviation: 0.1).value + 1.0),
      dropout: blockDropout, device: site.device)
  }
}

/// A butterfly of rotations of one layer's inputs, and scales of its outputs.
final class BOFTAdapter: LayerAdapter {
  let matrices: Parameter  // [factors, blocks, size, size]
  let scales: Parameter  // [out, 1]; of a convolution [1, out]
  let dropout: Double
  /// Where each input goes before and after the blocks of a factor, `[in]`; nil for nowhere.
  private let orders: [(there: Tensor, back: Tensor)?]

  init(_ matrices: Parameter, scales: Parameter, dropout: Double, device: Device) {
    self.matrices = matrices
    self.scales = scales
    self.dropout = dropout
    let shape = matrices.value.shape
    orders = (0..<shape[0]).map { factor in
      guard factor > 0 else { return nil }
      let order = Self.order(inputs: shape[1] * shape[2], blockSize: shape[2], factor: factor)
      var back = order
      for (place, index) in order.enumerated() { back[index] = place }
      func tensor(_ values: [Int]) -> Tensor {
        Tensor(values.map(Int64.init), shape: [values.count]).to(device: device)
      }
      return (tensor(back), tensor(order))
    }
  }

  /// The order that factor `factor` puts inputs in: of each 2^factor blocks, the half blocks of even
  /// numbers and then those of odd ones.
  static func order(inputs: Int, blockSize: Int, factor: Int) -> [Int] {
    let half = blockSize / 2
    let halves = 2 << factor
    return stride(from: 0, to: inputs, by: half * halves).flatMap { start in
      (Array(stride(from: 0, to: halves, by: 2)) + Array(stride(from: 1, to: halves, by: 2)))
        .flatMap { number in (0..<half).map { start + number * half + $0 } }
    }
  }

  var parameters: [AdapterParameter] {
    [AdapterParameter("boft_R", matrices), AdapterParameter("boft_s", scales)]
  }

  func input(_ x: Tensor, _ context: AdapterContext) -> Tensor {
    let type = DType.computing(x.dtype, matrices.value.dtype)
    var factors = rotations(type)
    if context.isTraining && dropout > 0 {
      let chosen = Int(
        Tensor.randomUniform([1], device: x.device, generator: context.generator).item()
          * Double(factors.count))
      let index = min(chosen, factors.count - 1)
      factors[index] = context.withoutSome(factors[index], dropout)
    }
    return rotated(x.to(type), factors.enumerated().reversed()).to(x.dtype)
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let factors = scales.value.reshaped([scales.count])
    guard let bias = base.bias?.value else { return y.multiplied(wide: factors) }
    // s (y - b) + b
    let type = DType.computing(y.dtype, factors.dtype)
    let wide = bias.to(type)
    return ((y.to(type) - wide) * factors.to(type) + wide).to(y.dtype)
  }

  func merge(into layer: inout MergedLayer) {
    withoutGradients {
      let type = layer.weight.dtype
      let factors = rotations(type).map { $0.transposed() }
      layer.weight = rotated(layer.weight, Array(factors.enumerated())) * scales.value.to(type)
    }
  }

  /// Rotations of each factor's blocks, `[blocks, size, size]`.
  private func rotations(_ type: DType) -> [Tensor] {
    let matrices = matrices.value.to(type)
    let skew = (matrices - matrices.transposed()) * 0.5
    let rotations = CayleyTransform.transposed(skew)
    return (0..<matrices.size(0)).map { rotations.selected(0, $0) }
  }

  /// Rows times factors one after the other.
  private func rotated(
    _ rows: Tensor, _ factors: [(offset: Int, element: Tensor)]
  ) -> Tensor {
    factors.reduce(rows) { rows, factor in
      guard let order = orders[factor.offset] else { return rows.rotatingBlocks(factor.element) }
      return rows.selecting(-1, order.there).rotatingBlocks(factor.element)
        .selecting(-1, order.back)
    }
  }
}
