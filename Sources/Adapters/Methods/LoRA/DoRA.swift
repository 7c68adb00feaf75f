import Layers
import Tensors

/// Weight decomposition: rows of W + s B A with trained lengths m.
///
/// y = x (diag(m / n) V)^T + b with V = W + s (B A - B0 A0) and n its row norms, through which no
/// gradient flows. Without dropout the base multiplies once; with it, it multiplies the dropped
/// input too, as in PEFT.
///
/// Source: Liu et al. 2024, arXiv 2402.09353.
final class DoRAAdapter: LowRankLayerAdapter {
  let factors: LoRAFactors
  /// m, `[outputSize]`.
  let magnitude: Parameter
  /// The base without merged adapters, whose rows n is about.
  private let base: any LinearProjection

  init(_ factors: LoRAFactors, base: any LinearProjection, isLoading: Bool) {
    self.factors = factors
    self.base = base
    magnitude = Parameter(
      isLoading
        ? .empty([base.outputSize], dtype: factors.a.value.dtype, device: .meta)
        : Self.rowNorms(base, factors))
  }

  var parameters: [AdapterParameter] {
    factors.parameters + [AdapterParameter("lora_magnitude_vector", magnitude)]
  }

  /// n, `[outputSize]`, in the factors' type.
  private static func rowNorms(_ base: any LinearProjection, _ factors: LoRAFactors) -> Tensor {
    withoutGradients {
      let (a, b) = factors.whole()
      return base.denseWeight().detached().to(a.dtype)
        .addingMatrixProduct(b, a, scale: factors.scale).norm([1])
    }
  }

  /// m / n; a row of zeros stays one.
  private func rowFactors() -> Tensor {
    magnitude.value / Self.rowNorms(base, factors).clamped(lower: 1e-30)
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    let wide = magnitude.value.dtype
    let bias = base.bias?.value.to(wide)
    func withoutBias(_ y: Tensor) -> Tensor {
      let y = y.to(wide)
      return bias.map { y - $0 } ?? y
    }
    func updated(_ y: Tensor, _ x: Tensor) -> Tensor {
      let (a, b) = factors.whole()
      return addingLowRankProduct(
        to: y, x, a: a, b: b, scale: factors.scale, dropout: 0, generator: nil)
    }
    guard context.isTraining && factors.dropout > 0 else {
      let scaled = updated(withoutBias(y), x) * rowFactors()
      return (bias.map { scaled + $0 } ?? scaled).to(y.dtype)
    }
    let dropped = context.dropped(x, factors.dropout)
    let product = withoutBias(base(dropped))
    let change =
      updated(product.cloned(), dropped) * rowFactors()
      - factors.lackingStart(in: product, dropped)
    return (factors.lackingStart(in: y.to(wide), x) + change).to(y.dtype)
  }

  func merge(into layer: inout MergedLayer) {
    withoutGradients {
      let rows = rowFactors().to(layer.weight.dtype).unsqueezed(1)
      layer.weight.addInPlace(factors.delta().to(layer.weight.dtype))
        .multiplyInPlace(rows)
    }
  }
}
