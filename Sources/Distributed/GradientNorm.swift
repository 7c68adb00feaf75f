public import Layers
import Tensors

/// The joint length of gradients, summed in an order that does not depend on who holds which part.
///
/// Squares are added up in blocks of 256 elements, in float64, and the blocks one after another: whoever has
/// a block gets the same number for it.
public enum GradientNorm {
  /// Sums of squares of the blocks of a flat tensor.
  ///
  /// - Parameter flat: `[256 n]`.
  /// - Returns: `[n]`, float64.
  static func blocks(_ flat: Tensor) -> Tensor {
    let wide = flat.to(.float64).reshaped([
      flat.count / FlatBuckets.alignment, FlatBuckets.alignment,
    ])
    return (wide * wide).sum([1])
  }

  /// The length that sums of squares make.
  static func length(_ blocks: [Double]) -> Double {
    var sum = 0.0
    for block in blocks { sum += block }
    return sum.squareRoot()
  }

  /// What gradients are multiplied by so that they are at most so long.
  ///
  /// min(1, maximum / (length + 1e-6)), as in torch.nn.utils.clip_grad_norm_.
  static func factor(_ length: Double, maximum: Double?) -> Double {
    guard let maximum, length.isFinite else { return 1 }
    return min(1, maximum / (length + 1e-6))
  }

  /// Scales all gradients down together so that their joint length is at most a bound.
  ///
  /// It differs from `clipGradients` in the last digits only.
  ///
  /// - Parameters:
  ///   - parameters: Whose gradients; those without one are skipped.
  ///   - maximumNorm: The bound; nil only measures.
  /// - Returns: The length before. When it is infinite or NaN the gradients are left as they are.
  public static func clip(_ parameters: [Parameter], maximumNorm: Double?) -> Double {
    withoutGradients {
      let buckets = FlatBuckets(parameters.map(\.value), parts: 1)
      var sums: [Double] = []
      for bucket in buckets.buckets {
        let flat = buckets.joined(bucket) { parameters[$0].value.gradient }
        sums += blocks(flat).array(of: Double.self)
      }
      let length = length(sums)
      let factor = factor(length, maximum: maximumNorm)
      if factor < 1 {
        for parameter in parameters { parameter.value.gradient?.multiplyInPlace(factor) }
      }
      return length
    }
  }
}
