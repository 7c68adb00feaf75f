import Layers
import Tensors

/// An adapter over ``LowRankFactors``.
protocol LowRankAdapter: LayerAdapter {
  var factors: LowRankFactors { get }
}

/// One low-rank update of one layer.
final class LoRAAdapter: LowRankAdapter {
  let factors: LowRankFactors
  let mergeObstacle: String?

  init(_ factors: LowRankFactors, base: any LinearProjection) {
    self.factors = factors
    mergeObstacle =
      factors.bias != nil && base.bias == nil ? "the layer has no bias to add lora_bias to" : nil
  }

  var parameters: [AdapterParameter] { factors.parameters }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    guard let bias = factors.bias?.value else { return factors.adding(to: y, x, context) }
    // Rounded once, at the end, where the base is of half precision.
    let sum = factors.adding(to: y.to(bias.dtype), x, context)
    return sum.adding(bias, scale: factors.scale).to(y.dtype)
  }

  func merge(into layer: inout MergedLayer) {
    layer.weight.addInPlace(factors.delta())
    guard let bias = factors.bias?.value.detached() else { return }
    layer.bias?.addInPlace(bias, scale: factors.scale)
  }
}

extension LoRAConfig: LayerMethod {
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let rank = try rankPattern.value(for: site.path, default: rank)
    if invocationTokens != nil, TargetMatching.matches(site.path, "lm_head") {
      throw misfit(
        site, field: "alora_invocation_tokens", expected: "layers inside the decoder",
        actual: "its output head, which sees single positions")
    }
    var factors = try initialFactors(
      site, rank: rank, scale: try scale(ofLayer: site.path, rank: rank))
    factors = try varied(factors, site, rank: rank)
    if usesBias {
      factors.bias =
        initialization == .random
        ? site.uniform([site.outputSize], bound: 1 / Double(rank).squareRoot())
        : site.zeros([site.outputSize])
    }
    return adapter(factors, base: site.base)
  }

  /// The adapter over some factors.
  func adapter(_ factors: LowRankFactors, base: any LinearProjection) -> any LayerAdapter {
    if let tokens = invocationTokens { return ActivatedLoRAAdapter(factors, tokens: tokens) }
    return usesDoRA ? DoRAAdapter(factors, base: base) : LoRAAdapter(factors, base: base)
  }
}
