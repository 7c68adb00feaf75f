import Layers
import Tensors

/// An adapter of a convolution whose whole effect is to give it other kernels.
protocol KernelAdapter: ConvolutionAdapter {
  /// Changes kernels `[out, in / groups, kernel...]` and bias, differentiably in the adapter's
  /// parameters.
  func change(_ layer: inout MergedLayer, _ context: AdapterContext)
}

extension KernelAdapter {
  func output(
    _ y: Tensor, input x: Tensor, base: any ConvolutionKernels, _ context: AdapterContext
  ) -> Tensor { y }

  func merge(into layer: inout MergedLayer) {
    let device = layer.weight.device
    withoutGradients {
      change(&layer, AdapterContext(seed: 0, device: device))
    }
  }
}

/// How the kernels of a convolution are a matrix `[out, in / groups · kernel]`.
struct KernelShape {
  /// Input channels that one output sees: in / groups.
  let channels: Int
  /// The kernel's size, one number for each dimension.
  let sizes: [Int]
  /// Groups of channels that do not see each other.
  let groups: Int

  init(_ kernels: any ConvolutionKernels) {
    let shape = kernels.weight.shape
    channels = shape[1]
    sizes = Array(shape.dropFirst(2))
    groups = kernels.steps.groups
  }

  /// Elements of one kernel.
  var area: Int { sizes.reduce(1, *) }

  /// The kernel's size as PEFT has it in cores: of two dimensions at least.
  var planeSizes: [Int] { sizes.count == 1 ? sizes + [1] : sizes }
}

/// A method that PEFT has for some kinds of convolutions.
protocol KernelMethod: LayerMethod {
  /// Numbers of dimensions of the convolutions that PEFT can adapt.
  static var kernelDimensions: ClosedRange<Int> { get }
  /// Whether kernels of several groups can be.
  static var takesGroups: Bool { get }
}

extension KernelMethod {
  static var takesGroups: Bool { false }

  /// Refuses a convolution that the method has no formula for.
  func check(_ kernel: KernelShape, path: String) throws(AdapterError) {
    let dimensions = Self.kernelDimensions
    guard dimensions.contains(kernel.sizes.count) else {
      throw .configuration(
        field: "target_modules",
        expected: "for \(Self.type) convolutions over \(dimensions.lowerBound) to "
          + "\(dimensions.upperBound) dimensions",
        actual: "\(path), over \(kernel.sizes.count)")
    }
    guard Self.takesGroups || kernel.groups == 1 else {
      throw .configuration(
        field: "target_modules", expected: "for \(Self.type) convolutions without groups",
        actual: "\(path), which has \(kernel.groups)")
    }
  }
}

/// A method that adapts kernels as it does the weight of a linear layer whose inputs are patches.
///
/// Its ``LayerSite`` has a ``LayerSite/kernel`` then.
protocol KernelMatrixMethod: KernelMethod {}

/// An adapter of a linear layer, on kernels as a matrix.
///
/// What the layer makes of the identity is its weight, so that whatever an adapter does to inputs and
/// outputs is done to the kernels once a pass, not to every patch.
final class KernelMatrixAdapter: KernelAdapter, OutsideLinearLayer {
  let inner: any LayerAdapter

  init(_ inner: any LayerAdapter) { self.inner = inner }

  func change(_ layer: inout MergedLayer, _ context: AdapterContext) {
    let shape = layer.weight.shape
    let matrix = layer.weight.reshaped([shape[0], -1])
    let base = DenseProjection(weight: Parameter(matrix))
    let identity = Tensor.identity(
      matrix.size(1), dtype: matrix.dtype, device: matrix.device)
    let input = inner.input(identity, context)
    let weight = inner.output(base(input), input: input, base: base, context)  // [in · kernel, out]
    layer.weight = weight.transposed().reshaped(shape)
  }
}
