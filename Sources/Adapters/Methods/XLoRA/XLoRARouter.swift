import Layers
import Models
import Tensors

/// Runs the model a first time before each pass, and gives that pass the weights of experts.
final class XLoRARouter: PassCompanion {
  let classifier: XLoRAClassifier
  private let config: XLoRAConfig
  private let context: AdapterContext
  private unowned let decoder: DecoderModel
  /// Adapted layers.
  private let layerCount: Int
  /// Weights in the pass that is being computed, `[batch, length, layers or 1, experts]`; nil where
  /// experts are silent.
  private var weights: Tensor?
  private var isFirstPass = false

  init(
    _ classifier: XLoRAClassifier, _ config: XLoRAConfig, layerCount: Int, _ site: ModelSite
  ) {
    self.classifier = classifier
    self.config = config
    self.layerCount = layerCount
    context = site.context
    decoder = site.decoder
  }

  func begin(_ batch: DecoderInput, cache: KeyValueCache?) -> Tensor? {
    if isFirstPass { return constantWeights(batch) }
    isFirstPass = true
    defer { isFirstPass = false }
    let own = cache?.companion(layerCount: decoder.configuration.layerCount)
    let hidden = withoutGradients { decoder(batch, cache: own) }
    return classifier.kept(classifier(hidden, context))
  }

  func run(_ index: Int, _ x: Tensor, carried: Tensor, block: (Tensor) -> Tensor) -> [Tensor] {
    let before = weights
    weights = carried
    defer { weights = before }
    return [block(x)]
  }

  /// The weights of one layer's experts in the pass that is being computed, or nil.
  ///
  /// - Parameter layer: Number among the adapted layers.
  /// - Returns: `[batch, length, experts]`.
  func weights(ofLayer layer: Int) -> Tensor? {
    weights.map { $0.selected(2, config.hasLayerwiseWeights ? layer : 0) }
  }

  private func constantWeights(_ batch: DecoderInput) -> Tensor? {
    guard config.firstPassWeight != 0, let like = classifier.parameters.first else { return nil }
    let value = like.own.parameter.value
    let one = Tensor.full(
      [1, 1, 1, config.adapters.count], config.firstPassWeight, dtype: value.dtype,
      device: value.device)
    let layers = config.hasLayerwiseWeights ? layerCount : 1
    return classifier.kept(one).expanded([batch.ids.size(0), batch.ids.size(1), layers, -1])
  }
}

/// The experts of one layer.
final class XLoRALayer: LayerAdapter {
  private let router: XLoRARouter
  private let index: Int
  private let experts: [(number: Int, adapter: any LayerAdapter)]
  private let globalWeight: Double
  private let isTrained: Bool

  init(
    _ experts: [(number: Int, adapter: any LayerAdapter)], index: Int, _ router: XLoRARouter,
    _ config: XLoRAConfig
  ) {
    self.experts = experts
    self.index = index
    self.router = router
    globalWeight = config.globalWeight
    isTrained = config.trainsExperts
  }

  /// As PEFT names them in memory: "lora_A.0.weight" of expert 0.
  var parameters: [AdapterParameter] {
    experts.flatMap { number, adapter in
      adapter.parameters.map { own in
        AdapterParameter(
          expertKey(own.name, number), own.parameter, isTrained: isTrained && own.isTrained)
      }
    }
  }

  func output(
    _ y: Tensor, input x: Tensor, base: any LinearProjection, _ context: AdapterContext
  ) -> Tensor {
    guard let weights = router.weights(ofLayer: index) else { return y }
    let wide = x.to(weights.dtype)
    return experts.reduce(y) { sum, expert in
      let weight = weights.narrowed(-1, expert.number..<expert.number + 1)  // [B, L, 1]
      return expert.adapter.output(sum, input: wide * (weight * globalWeight), base: base, context)
    }
  }

  /// Never called, as the method cannot be merged.
  func merge(into layer: inout MergedLayer) {}
}

/// A key of an expert's tensor, such as "lora_A.weight" at its end, with the expert's number before the
/// last part.
func expertKey(_ key: String, _ number: Int) -> String {
  var parts = key.split(separator: ".")
  parts.insert(Substring("\(number)"), at: parts.count - 1)
  return parts.joined(separator: ".")
}
