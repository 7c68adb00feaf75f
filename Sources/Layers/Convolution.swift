public import Tensors

/// How a convolution's kernel moves over its input.
public struct ConvolutionSteps: Equatable, Sendable {
  /// Steps of the kernel, one for each dimension.
  public var stride: [Int]
  /// Zeros on both sides of each dimension.
  public var padding: [Int]
  /// Distances of the kernel's elements.
  public var dilation: [Int]
  /// Groups of channels that do not see each other.
  public var groups: Int

  /// Makes steps.
  ///
  /// - Parameters:
  ///   - stride: Steps of the kernel, one for each dimension.
  ///   - padding: Zeros on both sides; nil for none.
  ///   - dilation: Distances of the kernel's elements; nil for 1.
  ///   - groups: Groups of channels that do not see each other.
  public init(stride: [Int], padding: [Int]? = nil, dilation: [Int]? = nil, groups: Int = 1) {
    self.stride = stride
    self.padding = padding ?? stride.map { _ in 0 }
    self.dilation = dilation ?? stride.map { _ in 1 }
    self.groups = groups
  }
}

/// What a convolution computes with: dense kernels, or those with adapters.
public protocol ConvolutionKernels: Module {
  /// How the kernel moves.
  var steps: ConvolutionSteps { get }
  /// The kernels as numbers, `[out, in / groups, kernel...]`; may alias the stored ones.
  var weight: Tensor { get }
  /// The bias `[out]`, or nil.
  var bias: Parameter? { get }

  /// Convolves.
  ///
  /// - Parameter x: `[batch, in, length...]`.
  /// - Returns: `[batch, out, length'...]`.
  func callAsFunction(_ x: Tensor) -> Tensor
}

/// Kernels that are stored as they are.
public final class DenseKernels: ConvolutionKernels {
  /// How the kernel moves.
  public let steps: ConvolutionSteps
  private var kernels: Parameter
  /// The bias `[out]`, or nil.
  public private(set) var bias: Parameter?

  /// Makes kernels.
  ///
  /// - Parameters:
  ///   - weight: `[out, in / groups, kernel...]`.
  ///   - bias: `[out]`, or nil.
  ///   - steps: How the kernel moves.
  public init(weight: Parameter, bias: Parameter? = nil, steps: ConvolutionSteps) {
    precondition(
      weight.value.rank == steps.stride.count + 2,
      "DenseKernels: a weight of shape \(weight.value.shape) with \(steps.stride.count) strides")
    kernels = weight
    self.bias = bias
    self.steps = steps
  }

  /// The stored kernels, not a copy.
  public var weight: Tensor { kernels.value }

  /// Convolves.
  ///
  /// - Parameter x: `[batch, in, length...]`.
  /// - Returns: `[batch, out, length'...]`.
  public func callAsFunction(_ x: Tensor) -> Tensor {
    x.convolved(
      weight, bias: bias?.value, stride: steps.stride, padding: steps.padding,
      dilation: steps.dilation, groups: steps.groups)
  }

  /// `weight` and, where there is one, `bias`.
  ///
  /// - Parameter transform: Gets each parameter's name.
  public func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    kernels = transform("weight", kernels)
    bias = bias.map { transform("bias", $0) }
  }
}

/// A convolution over one, two or three dimensions: a place in the model whose kernels can be
/// exchanged.
public final class Convolution: Module {
  /// What the layer computes with.
  public var kernels: any ConvolutionKernels

  /// Makes a layer.
  ///
  /// - Parameter kernels: What it computes with.
  public init(_ kernels: any ConvolutionKernels) { self.kernels = kernels }

  /// Convolves.
  ///
  /// - Parameter x: `[batch, in, length...]`.
  /// - Returns: `[batch, out, length'...]`.
  public func callAsFunction(_ x: Tensor) -> Tensor { kernels(x) }

  /// The kernels' parts: what an adapter adds, or none.
  public var children: [(name: String, module: any Module)] { kernels.children }

  /// The kernels' parameters.
  ///
  /// - Parameter transform: Gets each parameter's name.
  public func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    kernels.mapParameters(transform)
  }
}
