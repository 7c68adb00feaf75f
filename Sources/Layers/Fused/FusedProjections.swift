import CKernels
public import Tensors

/// How some of a group's outputs are turned by their positions.
public struct FusedRotation {
  /// Cosines of the angles, `[batch or 1, 1, length, rotated]`, both halves equal.
  public let cosine: Tensor
  /// Sines of the angles, likewise.
  public let sine: Tensor
  /// Dimensions of one head.
  public let headSize: Int
  /// Layers whose outputs are turned.
  public let layers: Range<Int>

  /// Makes a description.
  ///
  /// - Parameters:
  ///   - cosine: `[batch or 1, 1, length, rotated]`, both halves equal.
  ///   - sine: Likewise.
  ///   - headSize: Dimensions of one head.
  ///   - layers: Layers whose outputs are turned.
  public init(cosine: Tensor, sine: Tensor, headSize: Int, layers: Range<Int>) {
    self.cosine = cosine
    self.sine = sine
    self.headSize = headSize
    self.layers = layers
  }

  var isFusable: Bool {
    cosine.dtype == .float32 && cosine.device.kind == .cpu && cosine.size(1) == 1
  }

  /// Writes rows `[N, heads * headSize]` turned forth (1) or back (-1), perhaps in place.
  func rotate(_ rows: Tensor, direction: Float, into result: Tensor) {
    let (heads, size, width) = (rows.size(1) / headSize, headSize, cosine.size(-1))
    let tables = [cosine, sine].map { $0.contiguous() }
    let period = Int64(cosine.count / width)
    forEachBlockRange(
      rows.size(0), blockSize: rows.size(1), [rows, result] + tables, name: "rotate"
    ) {
      graft_rotate(
        $0.elements(0, Float.self), $0.elements(2, Float.self), $0.elements(3, Float.self),
        direction, Int64(heads), Int64(size), Int64(width), period, $1, $2,
        $0.elements(1, Float.self))
    }
  }
}

/// Linear layers behind one norm, and the rotary embedding behind them, as one differentiable function.
///
/// y_i = R (n W_i^T + b_i + s_i n A_i^T B_i^T) with n the normalised x. Of all this x, one number a row
/// and the narrow products are kept; n is computed again in the backward pass.
///
/// ## Shapes
/// - x: `[batch, length, size]`, results: `[batch, length, outputSize of each]`.
///
/// - Parameters:
///   - x: Input of the norm.
///   - norm: A frozen ``RMSNorm``.
///   - layers: What reads the normalised input.
///   - rotation: Which outputs are turned, and by what; nil for none.
/// - Returns: The layers' outputs and x itself, for what goes past the layers: its gradient is added where
///   that of the norm is computed; nil where the types or places of something do not allow it.
public func fusedProjections(
  _ x: Tensor, norm: any Normalization, _ layers: [ExplicitProjection], rotation: FusedRotation?
) -> (outputs: [Tensor], input: Tensor)? {
  guard x.dtype == .float32, x.device.kind == .cpu, x.rank == 3,
    layers.allSatisfy(\.isFusable), rotation?.isFusable != false,
    let norm = FusedNorm(norm)
  else { return nil }
  let group = LinearGroup(layers)
  let outer = Array(x.shape.dropLast())
  let results = differentiable("FusedProjections", [x] + group.trained) { inputs in
    let rows = inputs[0].rows().contiguous()
    let needsInput = inputs[0].requiresGradient
    let (normalized, scale) = norm(rows)
    let (outputs, narrow) = group(normalized)
    if let rotation {
      for output in outputs[rotation.layers] { rotation.rotate(output, direction: 1, into: output) }
    }
    let shape = inputs[0].shape
    return (
      outputs.map { $0.reshaped(outer + [$0.size(1)]) } + [inputs[0].detached()],
      { gradients in
        let past = gradients[layers.count]
        let flat = gradients.dropLast().enumerated().map { index, gradient -> Tensor? in
          guard let gradient = gradient?.rows().contiguous() else { return nil }
          guard let rotation, rotation.layers.contains(index) else { return gradient }
          let back = gradient.emptyLike()
          rotation.rotate(gradient, direction: -1, into: back)
          return back
        }
        let (input, trained) = group.gradients(flat, narrow: narrow, needsInput: needsInput) {
          norm.again(rows, scale: scale)
        }
        return [
          input.map {
            norm.pulledBack(
              $0, rows: rows, scale: scale, adding: past?.rows().contiguous()
            ).reshaped(shape)
          } ?? past
        ] + trained
      }
    )
  }
  return (Array(results.dropLast()), results[layers.count])
}
