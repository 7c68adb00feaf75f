import Layers
public import Tensors

/// What all adapters of one model share while it runs.
public final class AdapterContext {
  /// Whether dropout is on.
  public var isTraining = false
  /// Whether adapters act at all.
  public var isEnabled = true
  /// Names of the adapters that act, in order.
  public var active: [String] = []
  /// Source of dropout.
  public let generator: Generator

  init(generator: Generator) { self.generator = generator }
}

/// One low-rank update of one layer.
final class LoRAWeights {
  let a: Parameter  // [rank, in]
  let b: Parameter  // [out, rank]
  let scale: Double
  let dropout: Double

  init(a: Parameter, b: Parameter, scale: Double, dropout: Double) {
    self.a = a
    self.b = b
    self.scale = scale
    self.dropout = dropout
  }

  /// s B A, `[out, in]`, in float32 or wider.
  var delta: Tensor { b.value.matrixProduct(a.value) * scale }
}

/// A linear projection with low-rank updates, over any base.
final class LoRAProjection: LinearProjection {
  let base: any LinearProjection
  let context: AdapterContext
  private(set) var adapters: [(name: String, weights: LoRAWeights)] = []

  init(base: any LinearProjection, context: AdapterContext) {
    self.base = base
    self.context = context
  }

  var inputSize: Int { base.inputSize }
  var outputSize: Int { base.outputSize }
  var bias: Parameter? { base.bias }
  var dtype: DType { base.dtype }
  var device: Device { base.device }
  var children: [(name: String, module: any Module)] { [("base_layer", base)] }

  func mapParameters(_ transform: (String, Parameter) -> Parameter) {
    for (name, weights) in adapters {
      _ = transform("lora_A.\(name).weight", weights.a)
      _ = transform("lora_B.\(name).weight", weights.b)
    }
  }

  func weights(_ name: String) -> LoRAWeights? { adapters.first { $0.name == name }?.weights }

  func add(_ name: String, _ weights: LoRAWeights) { adapters.append((name, weights)) }

  func remove(_ name: String) { adapters.removeAll { $0.name == name } }

  func callAsFunction(_ x: Tensor) -> Tensor {
    var y = base(x)
    guard context.isEnabled else { return y }
    for name in context.active {
      guard let weights = weights(name) else { continue }
      y = addingLowRankProduct(
        to: y, x, a: weights.a.value, b: weights.b.value, scale: weights.scale,
        dropout: context.isTraining ? weights.dropout : 0, generator: context.generator)
    }
    return y
  }

  func denseWeight() -> Tensor { base.denseWeight() }

  func replacing(weight: Tensor) -> any LinearProjection { base.replacing(weight: weight) }
}

/// y + s x A^T B^T as one differentiable function that writes into y's memory.
///
/// Keeps x, which the base keeps anyway where its weight is trained, and the narrow product x A^T.
///
/// ## Shapes
/// - y: `[..., outputSize]`, x: `[..., inputSize]`, a: `[rank, inputSize]`, b: `[outputSize, rank]`.
///
/// - Precondition: y is fresh: nobody else reads its memory afterwards.
func addingLowRankProduct(
  to y: Tensor, _ x: Tensor, a: Tensor, b: Tensor, scale: Double, dropout: Double,
  generator: Generator?
) -> Tensor {
  let dropped = x.dropout(dropout, generator: generator)
  return differentiable("LoRA", [y, dropped, a, b]) { inputs in
    let (y, x, a, b) = (inputs[0], inputs[1], inputs[2], inputs[3])
    let rows = x.rows().to(a.dtype)  // [N, in]
    let narrow = rows.linear(a)  // [N, rank]
    let output: Tensor
    if y.dtype == b.dtype && y.isContiguous {
      output = y
      y.rows()
        .addMatrixProductInPlace(narrow, b.transposed(), scale: scale)
    } else {
      // A half-precision base: the sum is rounded once, at the end.
      let update = narrow.matrixProduct(b.transposed()).reshaped(y.shape)
      output = y.to(b.dtype).adding(update, scale: scale).to(y.dtype)
    }
    return (
      output,
      { gradient in
        let wide = gradient.rows().to(b.dtype)  // [N, out]
        let inner = wide.linear(b.transposed()).multiplyInPlace(scale)  // [N, rank]
        return [
          y.requiresGradient ? gradient : nil,
          x.requiresGradient
            ? inner.linear(a.transposed()).reshaped(x.shape).to(x.dtype) : nil,
          a.requiresGradient ? inner.transposed().linear(rows.transposed()) : nil,
          // Transposed, as libraries are slow where the result has few columns.
          b.requiresGradient
            ? narrow.transposed().linear(wide.transposed()).transposed().contiguous()
              .multiplyInPlace(scale) : nil,
        ]
      }
    )
  }
}
