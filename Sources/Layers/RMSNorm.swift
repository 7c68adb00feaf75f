public import Tensors

/// Root-mean-square normalisation over the last dimension: y = w * x / sqrt(mean(x^2) + epsilon).
///
/// Statistics are computed in float32.
public final class RMSNorm: Module {
  /// How the weight is applied.
  public enum Weighting: Sendable {
    /// The normalised value is cast to x's dtype and multiplied by w in it, as Llama does.
    case cast
    /// The normalised value is multiplied by w in float32 and cast then, as OLMo 2 does.
    case wide
    /// Like `wide` with 1 + w, as Gemma does.
    case wideOffset
  }

  /// w, `[size]`.
  public var weight: Parameter
  /// Added to the mean square.
  public let epsilon: Double
  /// How the weight is applied.
  public let weighting: Weighting

  /// Makes a layer.
  ///
  /// - Parameters:
  ///   - weight: `[size]`.
  ///   - epsilon: Added to the mean square, positive.
  ///   - weighting: How the weight is applied.
  public init(weight: Parameter, epsilon: Double, weighting: Weighting = .cast) {
    self.weight = weight
    self.epsilon = epsilon
    self.weighting = weighting
  }

  /// Normalises.
  ///
  /// - Parameter x: `[..., size]`.
  /// - Returns: The same shape and dtype.
  public func callAsFunction(_ x: Tensor) -> Tensor {
    rmsNormalized(x, weight: weight.value, epsilon: epsilon, weighting: weighting)
  }

  /// `weight`.
  ///
  /// - Parameter transform: Gets the parameter's name.
  public func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    weight = transform("weight", weight)
  }
}

/// Root-mean-square normalisation as one differentiable function.
///
/// Keeps its input and one number for each row; the normalised rows are computed again in the
/// backward pass.
///
/// With n = x * r, r = 1 / sqrt(mean(x^2) + epsilon) and g the gradient of y = n * w:
/// dx = r * (g w - n * mean(g w n)), dw = sum of g n over rows.
///
/// - Parameters:
///   - x: `[..., size]`.
///   - weight: `[size]`.
///   - epsilon: Added to the mean square.
///   - weighting: How the weight is applied.
/// - Returns: The same shape and dtype as x.
/// - Note: Source: Zhang and Sennrich 2019, arXiv 1910.07467, equation 4.
public func rmsNormalized(
  _ x: Tensor, weight: Tensor, epsilon: Double, weighting: RMSNorm.Weighting = .cast
) -> Tensor {
  differentiable("RMSNorm", [x, weight]) { inputs in
    let (x, weight) = (inputs[0], inputs[1])
    let wide = x.to(x.dtype == .float64 ? .float64 : .float32)
    // In this order of operations the result is transformers' to the last bit. norm^2 / size would
    // spare a temporary and change the logits of SmolLM2 by up to 1e-4.
    let scale = (wide * wide).mean([-1], keepDimensions: true).addInPlace(epsilon)
      .reciprocalSquareRoot()
    func factor() -> Tensor {
      let weight = weight.to(wide.dtype)
      return weighting == .wideOffset ? weight + 1.0 : weight
    }
    let output =
      weighting == .cast
      ? (wide * scale).to(x.dtype) * weight : (wide * scale).multiplyInPlace(factor()).to(x.dtype)
    return (
      output,
      { gradient in
        let gradient = gradient.to(wide.dtype)
        let normalized = x.to(wide.dtype) * scale
        let weightGradient =
          weight.requiresGradient
          ? (gradient * normalized).rows().sum([0]).to(weight.dtype) : nil
        guard x.requiresGradient else { return [nil, weightGradient] }
        let inner = gradient * factor()
        let projection = (inner * normalized).mean([-1], keepDimensions: true)
        inner.addProductInPlace(normalized, projection, scale: -1)
        return [inner.multiplyInPlace(scale).to(x.dtype), weightGradient]
      }
    )
  }
}
