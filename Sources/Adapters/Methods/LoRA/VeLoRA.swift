import JSONValues
import Layers
import Tensors

/// Settings of VeLoRA: A's gradient comes from compressed inputs, which alone are kept for it.
///
/// A token's input is cut into groups; of each its product with a vector v of length 1 is kept, and the
/// gradient sees those products times v. Outputs are those of an ordinary LoRA.
///
/// Source: Miles et al. 2024, arXiv 2405.17991.
public struct VeLoRAConfig: Equatable, Sendable {
  /// Where v comes from.
  public enum Start: String, Sendable, CaseIterable {
    /// The mean of each batch's groups.
    case eachBatch = "batch_average"
    /// The mean of the first batch's groups; a file holds it, so that a resumed run goes on with it
    /// (PEFT 0.21.2 takes another one then).
    case firstBatch = "batch_average_once"
    /// A random vector.
    case random
  }

  /// How many groups an input is cut into.
  public var groupCount = 64
  /// Factor of the inputs that A's gradient sees.
  public var scale = 1.0
  /// Where v comes from.
  public var start = Start.eachBatch

  /// Makes PEFT's defaults.
  public init() {}

  static var fields: [ConfigurationField<Self>] {
    [
      .integer("num_groups", \.groupCount), .number("scale", \.scale),
      .choice("init_type", \.start),
    ]
  }
}

/// A low-rank update whose A is trained on compressed inputs.
final class VeLoRAAdapter: LowRankLayerAdapter {
  let factors: LoRAFactors
  private let settings: VeLoRAConfig
  private let direction: Parameter  // v, [ceil(in / groups)]
  /// Whether the direction of the first batch was seen to be there; it stays.
  private var isFound = false

  init(_ factors: LoRAFactors, _ settings: VeLoRAConfig, _ site: LayerSite) {
    (self.factors, self.settings) = (factors, settings)
    let width = (site.inputSize + settings.groupCount - 1) / settings.groupCount
    guard settings.start == .random, !site.isLoading else {
      direction = site.zeros([width])
      return
    }
    direction = site.normal([width])
    direction.value = normalized(direction.value)
  }

  var parameters: [AdapterParameter] {
    factors.parameters + [AdapterParameter("lora_velora_embed", direction, isTrained: false)]
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    guard context.isTraining else { return factors.adding(to: y, x, context) }
    let a = factors.a.value
    let rows = context.dropped(x, factors.dropout).to(a.dtype).rows()
    let narrow = narrowed(rows, a)
    let update = narrow.linear(factors.b.value) * factors.scale
    return y.adding(wide: update.reshaped(y.shape))
  }

  func merge(into layer: inout MergedLayer) {
    layer.weight.addInPlace(factors.delta().to(layer.weight.dtype))
  }

  /// x A^T, whose gradient for A needs x's products with v alone.
  private func narrowed(_ rows: Tensor, _ a: Tensor) -> Tensor {
    let (count, width) = (settings.groupCount, direction.value.count)
    let size = rows.size(1)
    let kept = withoutGradients { () -> Tensor in
      var groups = rows.detached()
      if count * width > size {
        groups = .concatenated(
          [
            groups,
            .zeros([rows.size(0), count * width - size], dtype: rows.dtype, device: rows.device),
          ], dimension: 1)
      }
      groups = groups.reshaped([-1, count, width])
      if settings.start == .firstBatch, !isFound {
        isFound = direction.value.norm().item() > 0
      }
      if settings.start != .random, !isFound {
        direction.value = normalized(groups.mean([0, 1]))
      }
      return groups.matrixProduct(direction.value.unsqueezed(1)).reshaped([-1, count])
    }
    let (v, scale) = (direction.value, settings.scale)
    return differentiable("velora", [rows, a]) { inputs in
      let a = inputs[1].detached()
      let pullback = { (gradient: Tensor) -> [Tensor?] in
        let seen = (kept.unsqueezed(-1) * v).reshaped([-1, count * width]).narrowed(1, 0..<size)
        return [
          gradient.matrixProduct(a), gradient.transposed().matrixProduct(seen) * scale,
        ]
      }
      return (inputs[0].linear(a), pullback)
    }
  }
}

/// A vector of length 1; of zeros one in the direction of ones.
private func normalized(_ vector: Tensor) -> Tensor {
  let norm = vector.norm().item()
  guard norm > 0 else {
    return Tensor.full(
      vector.shape, 1 / Double(vector.count).squareRoot(), dtype: vector.dtype,
      device: vector.device)
  }
  return vector / norm
}
