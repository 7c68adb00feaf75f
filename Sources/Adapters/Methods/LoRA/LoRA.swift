import Layers
import Tensors

/// An adapter over ``LoRAFactors``.
protocol LowRankLayerAdapter: LayerAdapter {
  var factors: LoRAFactors { get }
}

extension LayerAdapter {
  /// The low-rank update among what the adapter does to its layer; nil where there is none.
  var lowRankUpdate: (any LowRankLayerAdapter)? {
    (self as? StackedAdapter)?.parts.lazy.compactMap(\.lowRankUpdate).first
      ?? self as? any LowRankLayerAdapter
  }

  /// What the adapter does with another low-rank update, or with none; nil where nothing is left.
  func replacingLowRankUpdate(by update: (any LayerAdapter)?) -> (any LayerAdapter)? {
    guard let stacked = self as? StackedAdapter else {
      return self is any LowRankLayerAdapter ? update : self
    }
    let parts = stacked.parts.compactMap { $0.replacingLowRankUpdate(by: update) }
    return parts.count > 1 ? StackedAdapter(parts) : parts.first
  }
}

extension PeftModel {
  /// Linear layers that have a low-rank update of an adapter's name.
  func lowRankLayers(
    _ name: String
  ) -> [(path: String, projection: AdaptedProjection, factors: LoRAFactors)] {
    adaptedLayers(name).compactMap { path, projection, adapter in
      adapter.lowRankUpdate.map { (path, projection, $0.factors) }
    }
  }
}

/// One low-rank update of one layer.
class LoRAAdapter: LowRankLayerAdapter {
  let factors: LoRAFactors

  init(_ factors: LoRAFactors) { self.factors = factors }

  /// Makes s B A.
  convenience init(a: Parameter, b: Parameter, scale: Double, dropout: Double) {
    self.init(LoRAFactors(a: a, b: b, scale: scale, dropout: dropout))
  }

  var parameters: [AdapterParameter] { factors.parameters }

  /// Whether it is a product of two factors and nothing else.
  var isProduct: Bool { factors.bias == nil }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    adding(to: y, x, context)
  }

  /// y plus the update of x and the bias.
  ///
  /// - Parameters:
  ///   - y: As ``LayerAdapter/output(_:input:base:_:)`` gets it.
  ///   - x: Likewise.
  ///   - context: Whether dropout is on, and its generator.
  ///   - a: What stands for A; nil for A.
  /// - Returns: `[..., outputSize]`, of y's type.
  func adding(
    to y: Tensor, _ x: Tensor, _ context: AdapterContext, a: Tensor? = nil
  ) -> Tensor {
    guard let bias = factors.bias?.value else { return factors.adding(to: y, x, context, a: a) }
    // Rounded once, at the end, where the base is of half precision.
    let sum = factors.adding(to: y.to(bias.dtype), x, context, a: a)
    return sum.adding(bias, scale: factors.scale).to(y.dtype)
  }

  /// Whether the adapter is s x A^T B^T at this moment and nothing else.
  var isPlain: Bool { type(of: self) == LoRAAdapter.self && isProduct }

  /// The update where the adapter is s x A^T B^T at this moment and nothing else; nil where it is not.
  func plainUpdate(_ context: AdapterContext) -> LowRankTerm? {
    guard isPlain else { return nil }
    let (a, b) = factors.whole()
    return LowRankTerm(
      a: a, b: b, scale: factors.scale, dropout: context.isTraining ? factors.dropout : 0,
      generator: context.generator)
  }

  func merge(into layer: inout MergedLayer) {
    layer.weight.addInPlace(factors.delta().to(layer.weight.dtype))
    guard let bias = factors.bias?.value.detached() else { return }
    if let own = layer.bias { own.addInPlace(bias.to(own.dtype), scale: factors.scale) }
  }

  func obstacle(toMergingInto base: any LinearProjection) -> String? {
    factors.bias != nil && base.bias == nil ? "has no bias to add lora_bias to" : nil
  }
}

extension LoRAConfig: LayerMethod, TokenTraining {
  func adapter(for site: LayerSite) throws(AdapterError) -> any LayerAdapter {
    let rank = try rankPattern.value(for: site.path, default: rank)
    if invocationTokens != nil, site.isOutputHead {
      throw misfit(
        site, field: "alora_invocation_tokens", expected: "layers inside the decoder",
        actual: "its output head, which sees single positions")
    }
    if let arrow { return try router(arrow, site, rank: rank) }
    var factors = try initialFactors(
      site, rank: rank, scale: try scale(ofLayer: site.path, rank: rank))
    factors = try varied(factors, site, rank: rank)
    if usesBias {
      factors.bias =
        initialization == .random
        ? site.uniform([site.outputSize], bound: 1 / Double(rank).squareRoot())
        : site.zeros([site.outputSize])
    }
    return adapter(factors, site)
  }

  /// The adapter over some factors.
  func adapter(_ factors: LoRAFactors, _ site: LayerSite) -> any LayerAdapter {
    if let veLoRA { return VeLoRAAdapter(factors, veLoRA, site) }
    if let monteCLoRA { return MonteCLoRAAdapter(factors, monteCLoRA, site) }
    if let tokens = invocationTokens { return ActivatedLoRAAdapter(factors, tokens: tokens) }
    return usesDoRA
      ? DoRAAdapter(factors, base: site.base, isLoading: site.isLoading) : LoRAAdapter(factors)
  }
}
