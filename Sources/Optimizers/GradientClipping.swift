public import Layers
import Tensors

/// Scales all gradients down together so that their joint length is at most a bound.
///
/// The factor is min(1, maximum / (norm + 1e-6)), in the arithmetic of
/// torch.nn.utils.clip_grad_norm_. Gradients of half precision are measured in float32.
///
/// - Parameters:
///   - parameters: Whose gradients; those without one are skipped.
///   - maximumNorm: The bound; nil only measures.
/// - Returns: The joint Euclidean length before. When it is infinite or NaN the gradients are left
///   as they are, and the caller should not make a step with them.
public func clipGradients(_ parameters: [Parameter], maximumNorm: Double?) -> Double {
  let gradients = parameters.compactMap(\.value.gradient)
  guard let device = gradients.first?.device else { return 0 }
  return withoutGradients {
    let norms = gradients.map { gradient in
      let norm = gradient.norm().to(device: device)
      return norm.dtype == .float64 ? norm : norm.to(.float32)
    }
    let norm = Tensor.stacked(norms).norm()
    let length = norm.item()
    guard let maximumNorm, length.isFinite else { return length }
    let factor = (norm + 1e-6).reciprocal() * maximumNorm
    if factor.item() < 1 {
      for gradient in gradients {
        gradient.multiplyInPlace(factor.to(device: gradient.device))
      }
    }
    return length
  }
}
