import JSONValues
import Layers
import Tensors

/// Configuration of circular convolution adapters: D consists of circulant b x b blocks, D[i b + p,
/// j b + q] = kernel[i, j, (q - p) mod b] / inputSize.
///
/// Products are computed by Fourier transforms, in O(b log b) instead of O(b²) for a block. A fresh
/// adapter changes the output unless it is initialised with zeros. Several active adapters add up; in
/// PEFT 0.21.2 each gets the output of the one before as its input. Its derivative with respect to the
/// input is wrong as well (the kernel is taken backwards there), so that layers below are trained along
/// other directions than here.
///
/// Source: Chen et al. 2024, arXiv 2407.19342. Defaults are those of PEFT 0.21.2.
public struct C3AConfig: LayerConfiguration {
  /// PEFT's name of the method.
  public static let type = "C3A"

  /// How the kernel starts.
  public enum Initialization: Equatable, Sendable, CaseIterable {
    /// Uniform in ± sqrt(6 / (inputSize + outputSize)).
    case xavierUniform
    /// Uniform in ± 1 / sqrt(inputSize).
    case kaimingUniform
    /// Standard normal.
    case gaussian
    /// Zero: nothing changes at first.
    case zero
  }

  /// Task, base and modules that are trained whole.
  public var origin = AdapterOrigin()
  /// Which layers get an adapter.
  public var selection = TargetSelection()
  /// b, a divisor of a layer's inputSize and outputSize.
  public var blockSize = 256
  /// Block sizes of single layers by an expression for the end of their path; the first match counts.
  public var blockSizePattern: [PathPattern<Int>] = []
  /// How the kernel starts.
  public var initialization = Initialization.xavierUniform

  /// Makes a configuration with PEFT's defaults.
  public init() {}

  /// Fields of `adapter_config.json`.
  public static var fields: [ConfigurationField<Self>] {
    [
      .integer("block_size", \.blockSize), .pattern("block_size_pattern", \.blockSizePattern),
      .spelled(
        "init_weights", \.initialization,
        [
          (.xavierUniform, "xavier_uniform"), (.xavierUniform, false), (.zero, true),
          (.kaimingUniform, "kaiming_uniform"), (.gaussian, "gaussian"),
        ]),
      .targetModules, .layersToTransform, .layersPattern, .bias, .modulesToSave,
    ]
  }

  /// As for LoRA, but the GPT-2s' mlp.c_proj.
  ///
  /// - Parameter modelType: The `model_type` of `config.json`.
  /// - Returns: Layers, or nil when they have to be named.
  public static func defaultTargets(modelType: String) -> TargetModules? {
    DefaultTargets.fourier[modelType]
  }

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  public func validate() throws(AdapterError) {
    try requirePositive("block_size", blockSize)
    try requirePositive("block_size_pattern", blockSizePattern)
  }
}

extension C3AConfig: LayerMethod {
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let size = try blockSizePattern.value(for: site.path, default: blockSize)
    let (inputs, outputs) = (site.inputSize, site.outputSize)
    guard inputs.isMultiple(of: size), outputs.isMultiple(of: size) else {
      throw misfit(
        site, field: "block_size", expected: "a divisor of \(inputs) and \(outputs)",
        actual: "\(size)")
    }
    let shape = [outputs / size, inputs / size, size]
    let kernel =
      switch initialization {
      case .xavierUniform:
        site.uniform(shape, bound: (6 / Double(inputs + outputs)).squareRoot())
      case .kaimingUniform: site.uniform(shape, bound: 1 / Double(inputs).squareRoot())
      case .gaussian: site.normal(shape)
      case .zero: site.zeros(shape)
      }
    return C3AAdapter(kernel)
  }
}

final class C3AAdapter: LayerAdapter {
  let kernel: Parameter  // [out / b, in / b, b]

  init(_ kernel: Parameter) { self.kernel = kernel }

  var parameters: [AdapterParameter] { [AdapterParameter("c3a_kernel", kernel)] }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let kernel = kernel.value
    let (count, size) = (kernel.size(1), kernel.size(2))
    // Correlation with each block is a product of spectra, summed over the blocks of inputs.
    let inputs = x.to(kernel.dtype).reshaped([-1, count, size]).realFourierTransform()
    let factors = kernel.realFourierTransform().conjugate()
    let outputs = inputs.permuted([2, 0, 1])  // [frequencies, N, in / b]
      .matrixProduct(factors.permuted([2, 1, 0]))  // [frequencies, in / b, out / b]
      .permuted([1, 2, 0]).inverseRealFourierTransform(count: size)
    return y.adding(wide: outputs.reshaped(y.shape) / Double(count * size))
  }

  func merge(into layer: inout MergedLayer) {
    let kernel = kernel.value.detached()
    let (rows, columns, size) = (kernel.size(0), kernel.size(1), kernel.size(2))
    let places = (0..<size).flatMap { p in (0..<size).map { q in (q - p + size) % size } }
    let blocks = kernel.selecting(2, Tensor(places).to(device: kernel.device))
      .reshaped([rows, columns, size, size]).permuted([0, 2, 1, 3])
    layer.weight.addInPlace(
      blocks.reshaped(layer.weight.shape), scale: 1 / Double(columns * size))
  }
}
