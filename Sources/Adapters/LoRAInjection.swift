import Foundation
import Layers
import Tensors

/// Puts one LoRA adapter into a model.
struct LoRAInjection {
  let model: any Module
  let headPath: String
  let context: AdapterContext

  /// Adds an adapter and returns where it went.
  func add(
    _ name: String, _ configuration: LoRAConfig, generator: Generator, isStrict: Bool
  ) throws(AdapterError) -> [String] {
    try configuration.validate()
    let targets = try TargetMatching(model, headPath: headPath)
      .targets(of: configuration, isStrict: isStrict)
    let layers = Dictionary(
      model.modules().compactMap { entry in (entry.module as? Linear).map { (entry.path, $0) } },
      uniquingKeysWith: { first, _ in first })
    let ranks = configuration.rankPattern.map { ($0.pattern, $0.value) }
    for path in targets {
      guard let layer = layers[path] else { continue }
      let rank = try TargetMatching.value(for: path, in: ranks, default: configuration.rank)
      let scale = try configuration.scale(ofLayer: path, rank: rank)
      let projection =
        layer.projection as? LoRAProjection
        ?? LoRAProjection(base: layer.projection, context: context)
      projection.add(
        name,
        initialWeights(
          projection.base, rank: rank, scale: scale,
          configuration, generator))
      layer.projection = projection
    }
    return targets
  }

  private func initialWeights(
    _ base: any LinearProjection, rank: Int, scale: Double, _ configuration: LoRAConfig,
    _ generator: Generator
  ) -> LoRAWeights {
    // Adapters are float32 beside a base of half precision, as in PEFT.
    let dtype: DType = base.dtype == .float64 ? .float64 : .float32
    // Drawn on the processor, so that the same seed gives the same numbers on every device.
    let a = Tensor.empty([rank, base.inputSize], dtype: dtype)
    let b = Tensor.zeros([base.outputSize, rank], dtype: dtype)
    switch configuration.initialization {
    case .standard:
      let bound = 1 / Double(base.inputSize).squareRoot()
      a.fillUniformInPlace(-bound, bound, generator: generator)
    case .gaussian:
      a.fillNormalInPlace(deviation: 1 / Double(rank), generator: generator)
    case .random:
      let (inputBound, rankBound) = (
        1 / Double(base.inputSize).squareRoot(), 1 / Double(rank).squareRoot()
      )
      a.fillUniformInPlace(-inputBound, inputBound, generator: generator)
      b.fillUniformInPlace(-rankBound, rankBound, generator: generator)
    }
    return LoRAWeights(
      a: Parameter(a.to(device: base.device)), b: Parameter(b.to(device: base.device)),
      scale: scale, dropout: configuration.dropout)
  }
}
