public import Layers
import Tensors

/// Scales all gradients down together so that their joint length is at most a bound.
///
/// The factor is min(1, maximum / (norm + 1e-6)), as in torch.nn.utils.clip_grad_norm_.
///
/// - Parameters:
///   - parameters: Whose gradients; those without one are skipped.
///   - maximumNorm: The bound; nil only measures.
/// - Returns: The joint Euclidean length before, which may be infinite or NaN.
public func clipGradients(_ parameters: [Parameter], maximumNorm: Double?) -> Double {
  let gradients = parameters.compactMap(\.value.gradient)
  guard !gradients.isEmpty else { return 0 }
  return withoutGradients {
    let norm = Tensor.stacked(gradients.map { $0.norm() }).norm().item()
    if let maximumNorm {
      let factor = maximumNorm / (norm + 1e-6)
      if factor < 1 { for gradient in gradients { gradient.multiplyInPlace(factor) } }
    }
    return norm
  }
}
