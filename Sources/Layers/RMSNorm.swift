public import Tensors

/// Root-mean-square normalisation over the last dimension: y = w * x / sqrt(mean(x^2) + epsilon).
///
/// Statistics are computed in float32 and the normalised value is cast to x's dtype before it is
/// multiplied by the weight, as Llama does.
public final class RMSNorm: Module {
  /// w, `[size]`.
  public var weight: Parameter
  /// Added to the mean square.
  public let epsilon: Double

  /// Makes a layer.
  ///
  /// - Parameters:
  ///   - weight: `[size]`.
  ///   - epsilon: Added to the mean square, positive.
  public init(weight: Parameter, epsilon: Double) {
    self.weight = weight
    self.epsilon = epsilon
  }

  /// Normalises.
  ///
  /// - Parameter x: `[..., size]`.
  /// - Returns: The same shape and dtype.
  public func callAsFunction(_ x: Tensor) -> Tensor {
    rmsNormalized(x, weight: weight.value, epsilon: epsilon)
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
/// - Returns: The same shape and dtype as x.
/// - Note: Source: Zhang and Sennrich 2019, arXiv 1910.07467, equation 4.
public func rmsNormalized(_ x: Tensor, weight: Tensor, epsilon: Double) -> Tensor {
  differentiable("RMSNorm", [x, weight]) { inputs in
    let (x, weight) = (inputs[0], inputs[1])
    let wide = x.to(x.dtype == .float64 ? .float64 : .float32)
    // In this order of operations the result is transformers' to the last bit. norm^2 / size would
    // spare a temporary and change the logits of SmolLM2 by up to 1e-4.
    let scale = (wide * wide).mean([-1], keepDimensions: true).addInPlace(epsilon)
      .reciprocalSquareRoot()
    let output = (wide * scale).to(x.dtype) * weight
    return (
      output,
      { gradient in
        let gradient = gradient.to(wide.dtype)
        let normalized = x.to(wide.dtype) * scale
        let weightGradient =
          weight.requiresGradient
          ? (gradient * normalized).rows().sum([0]).to(weight.dtype) : nil
        guard x.requiresGradient else { return [nil, weightGradient] }
        let inner = gradient * weight.to(wide.dtype)
        let projection = (inner * normalized).mean([-1], keepDimensions: true)
        inner.addProductInPlace(normalized, projection, scale: -1)
        return [inner.multiplyInPlace(scale).to(x.dtype), weightGradient]
      }
    )
  }
}
