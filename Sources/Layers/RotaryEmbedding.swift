public import Tensors

/// Rotates pairs of a head's dimensions by angles that grow with the position.
///
/// Dimension i is paired with i + rotated/2 (the halves layout of Hugging Face checkpoints);
/// dimensions beyond the rotated ones pass unchanged.
///
/// ## Shapes
/// - x: `[batch, heads, length, headSize]`; cosine and sine: `[batch or 1, 1, length, rotated]`,
///   both halves equal.
///
/// - Parameters:
///   - x: Queries or keys.
///   - cosine: Cosines of the angles.
///   - sine: Sines of the angles.
/// - Returns: Like x.
/// - Note: Source: Su et al. 2021, arXiv 2104.09864, equation 34. The derivative is the rotation by
///   the opposite angles, so nothing but the tables is kept.
public func rotated(_ x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor {
  differentiable("RotaryEmbedding", [x]) { inputs in
    (
      rotate(inputs[0], cosine, sine, direction: 1),
      { gradient in [rotate(gradient, cosine, sine, direction: -1)] }
    )
  }
}

private func rotate(_ x: Tensor, _ cosine: Tensor, _ sine: Tensor, direction: Double) -> Tensor {
  let width = cosine.size(-1)
  let size = x.size(-1)
  let turned = size == width ? x : x.narrowed(-1, 0..<width)
  let half = width / 2
  let result = turned * cosine
  let (left, right) = (turned.narrowed(-1, 0..<half), turned.narrowed(-1, half..<width))
  let halfSine = sine.narrowed(-1, 0..<half)
  // Each product rounded before it is added, as transformers does: a fused multiplication and
  // addition changes the logits of SmolLM2 by up to 1e-4.
  result.narrowed(-1, 0..<half).addInPlace(right * halfSine, scale: -direction)
  result.narrowed(-1, half..<width).addInPlace(left * halfSine, scale: direction)
  if size == width { return result }
  return Tensor.concatenated([result, x.narrowed(-1, width..<size)], dimension: -1)
}
