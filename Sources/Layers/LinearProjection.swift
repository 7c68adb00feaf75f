public import Tensors

/// What a linear layer computes with: dense, quantised, or either of them with adapters.
///
/// Adapters are written over this protocol alone, so that every method works on every kind of
/// weight.
public protocol LinearProjection: Module {
  /// Size of the last dimension of inputs.
  var inputSize: Int { get }
  /// Size of the last dimension of outputs.
  var outputSize: Int { get }
  /// The bias `[outputSize]`, or nil.
  var bias: Parameter? { get }
  /// Type of W as numbers.
  var dtype: DType { get }
  /// Where W lives.
  var device: Device { get }

  /// y = x W^T + b.
  ///
  /// - Parameter x: `[..., inputSize]`.
  /// - Returns: `[..., outputSize]`.
  func callAsFunction(_ x: Tensor) -> Tensor

  /// W as numbers.
  ///
  /// - Returns: `[outputSize, inputSize]`; may alias the stored weight, so it must not be changed.
  func denseWeight() -> Tensor

  /// A projection of the same kind over another weight, with the same bias.
  ///
  /// A quantised one quantises it anew, which loses what its format cannot hold.
  ///
  /// - Parameter weight: `[outputSize, inputSize]`.
  /// - Returns: A new projection.
  func replacing(weight: Tensor) -> any LinearProjection

  /// The gradient of x from that of y, g W, where W is frozen.
  ///
  /// - Parameter gradient: `[..., outputSize]`.
  /// - Returns: `[..., inputSize]`.
  func pulledBack(_ gradient: Tensor) -> Tensor

  /// The gradient of x from that of y, added to another: g W + sum.
  ///
  /// - Parameters:
  ///   - gradient: `[..., outputSize]`.
  ///   - sum: `[..., inputSize]`, which may be written to.
  /// - Returns: `[..., inputSize]`.
  func pulledBack(_ gradient: Tensor, addedTo sum: Tensor) -> Tensor

  /// A frozen projection and what low rank adds to it, for functions over several layers; nil where the
  /// projection does more or is trained itself.
  var explicitForm: ExplicitProjection? { get }

  /// Whether outputs of a row are known to depend on nothing but that row, so that padding may be left out.
  ///
  /// Asked where weights need not be in memory.
  var treatsRowsAlone: Bool { get }
}

extension LinearProjection {
  /// By the weight as numbers.
  public func pulledBack(_ gradient: Tensor) -> Tensor {
    gradient.linear(denseWeight().to(gradient.dtype).transposed())
  }

  /// One after the other.
  public func pulledBack(_ gradient: Tensor, addedTo sum: Tensor) -> Tensor {
    sum.addInPlace(pulledBack(gradient))
  }

  /// None.
  public var explicitForm: ExplicitProjection? { nil }

  /// Not.
  public var treatsRowsAlone: Bool { false }
}

/// A linear projection whose weight is stored as it is.
public final class DenseProjection: LinearProjection {
  /// W, `[outputSize, inputSize]`.
  public var weight: Parameter
  /// b, `[outputSize]`, or nil.
  public var bias: Parameter?

  /// Makes a projection over parameters, which may be shared with other modules.
  ///
  /// - Parameters:
  ///   - weight: `[outputSize, inputSize]`.
  ///   - bias: `[outputSize]`, or nil.
  public init(weight: Parameter, bias: Parameter? = nil) {
    self.weight = weight
    self.bias = bias
  }

  /// Size of the last dimension of inputs.
  public var inputSize: Int { weight.value.size(1) }
  /// Size of the last dimension of outputs.
  public var outputSize: Int { weight.value.size(0) }
  /// The weight's type.
  public var dtype: DType { weight.value.dtype }
  /// Where the weight lives.
  public var device: Device { weight.value.device }

  /// y = x W^T + b.
  ///
  /// - Parameter x: `[..., inputSize]`.
  /// - Returns: `[..., outputSize]`.
  public func callAsFunction(_ x: Tensor) -> Tensor {
    fewRowsOutput(x) ?? x.linear(weight.value, bias: bias?.value)
  }

  /// The stored weight.
  ///
  /// - Returns: `[outputSize, inputSize]`, not a copy.
  public func denseWeight() -> Tensor { weight.value }

  /// A dense projection over another weight, with the same bias.
  ///
  /// - Parameter weight: `[outputSize, inputSize]`.
  /// - Returns: A new projection.
  public func replacing(weight: Tensor) -> any LinearProjection {
    DenseProjection(weight: Parameter(weight), bias: bias)
  }

  /// As one product with a sum.
  public func pulledBack(_ gradient: Tensor, addedTo sum: Tensor) -> Tensor {
    gradient.linear(weight.value.transposed(), addedTo: sum)
  }

  /// They do.
  public var treatsRowsAlone: Bool { true }

  /// The projection itself, where neither weight nor bias is trained.
  public var explicitForm: ExplicitProjection? {
    weight.isTrainable || bias?.isTrainable == true ? nil : ExplicitProjection(base: self)
  }

  /// `weight` and, where there is one, `bias`.
  ///
  /// - Parameter transform: Gets each parameter's name.
  public func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    weight = transform("weight", weight)
    bias = bias.map { transform("bias", $0) }
  }
}
