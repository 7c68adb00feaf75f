public import Tensors

/// A layer that brings every vector of its last dimension to one scale.
public protocol Normalization: Module {
  /// Normalises.
  ///
  /// - Parameter x: `[..., size]`.
  /// - Returns: The same shape and dtype.
  func callAsFunction(_ x: Tensor) -> Tensor

  /// Another layer over the same parameters, which can be exchanged in it alone.
  ///
  /// - Returns: A layer of the same kind.
  func copied() -> any Normalization
}

extension RMSNorm: Normalization {
  /// Another layer over the same weight.
  ///
  /// - Returns: A layer of the same kind.
  public func copied() -> any Normalization {
    RMSNorm(weight: weight, epsilon: epsilon, weighting: weighting)
  }
}

/// Normalisation over the last dimension to mean 0 and variance 1: y = w * n + b.
///
/// Source: Ba et al. 2016, arXiv 1607.06450.
public final class LayerNorm: Normalization {
  /// w, `[size]`.
  public var weight: Parameter
  /// b, `[size]`, or nil.
  public var bias: Parameter?
  /// Added to the variance.
  public let epsilon: Double

  /// Makes a layer.
  ///
  /// - Parameters:
  ///   - weight: `[size]`.
  ///   - bias: `[size]`, or nil.
  ///   - epsilon: Added to the variance, positive.
  public init(weight: Parameter, bias: Parameter?, epsilon: Double) {
    self.weight = weight
    self.bias = bias
    self.epsilon = epsilon
  }

  /// Normalises.
  ///
  /// - Parameter x: `[..., size]`.
  /// - Returns: The same shape and dtype.
  public func callAsFunction(_ x: Tensor) -> Tensor {
    x.layerNormalized(weight: weight.value, bias: bias?.value, epsilon: epsilon)
  }

  /// Another layer over the same parameters.
  ///
  /// - Returns: A layer of the same kind.
  public func copied() -> any Normalization {
    LayerNorm(weight: weight, bias: bias, epsilon: epsilon)
  }

  /// `weight` and, where there is one, `bias`.
  ///
  /// - Parameter transform: Gets each parameter's name.
  public func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    weight = transform("weight", weight)
    bias = bias.map { transform("bias", $0) }
  }
}
