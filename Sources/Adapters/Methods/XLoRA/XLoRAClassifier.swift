import Layers
import Tensors

/// What finds the weights of experts from hidden states.
struct XLoRAClassifier {
  private let config: XLoRAConfig
  private let experts: Int
  private let layers: [(index: Int, weight: Parameter, bias: Parameter)]

  /// Makes a classifier with the initial numbers of new linear layers.
  ///
  /// - Parameters:
  ///   - config: Depth, sizes and what is done with the numbers.
  ///   - hiddenSize: Width of hidden states.
  ///   - layerCount: Adapted layers.
  ///   - source: Where initial numbers come from.
  init(_ config: XLoRAConfig, hiddenSize: Int, layerCount: Int, _ source: some ParameterSource) {
    self.config = config
    experts = config.adapters.count
    let outputs = experts * (config.hasLayerwiseWeights ? layerCount : 1)
    let inner = Array(repeating: config.size, count: config.depth - 1)
    // Functions and dropout have numbers of their own in PEFT's list of layers.
    let step = config.dropout > 0 ? 3 : 2
    layers = zip([hiddenSize] + inner, inner + [outputs]).enumerated().map { number, sizes in
      (
        index: number * step, weight: source.linearUniform([sizes.1, sizes.0]),
        bias: source.uniform([sizes.1], bound: 1 / Double(sizes.0).squareRoot())
      )
    }
  }

  /// Its tensors by the keys of files.
  var parameters: [(key: String, own: AdapterParameter)] {
    layers.flatMap { index, weight, bias in
      [("weight", weight), ("bias", bias)].map { name, parameter in
        (
          key: "\(classifierPrefix)layers.\(index).\(name)",
          own: AdapterParameter("layers.\(index).\(name)", parameter)
        )
      }
    }
  }

  /// The weights of each token's experts.
  ///
  /// - Parameters:
  ///   - hidden: `[batch, length, hiddenSize]`.
  ///   - context: Whether dropout is on, and its generator.
  /// - Returns: `[batch, length, layers, experts]`, with one layer where all have the same.
  func callAsFunction(_ hidden: Tensor, _ context: AdapterContext) -> Tensor {
    var x = hidden
    for (number, layer) in layers.enumerated() {
      let weight = layer.weight.value
      x = x.to(weight.dtype).linear(weight) + layer.bias.value
      if number < layers.count - 1 { x = context.dropped(x.relu(), config.dropout) }
    }
    let scores = x.reshaped([hidden.size(0), hidden.size(1), -1, experts])
    return config.usesSoftmax ? (scores / config.temperature).softmax(-1) : scores
  }

  /// What is left of weights where each token keeps its largest only.
  ///
  /// - Parameter weights: `[..., experts]`.
  /// - Returns: The same shape.
  func kept(_ weights: Tensor) -> Tensor {
    var kept = weights
    if let count = config.topK {
      let places = weights.detached().largest(count).indices
      let mask = weights.detached().zerosLike()
      kept = weights * mask.scattering(-1, places, mask.gathered(-1, places) + 1.0)
    }
    guard config.usesSoftmaxOfTopK else { return kept }
    let silent = kept.detached() .== 0
    return kept.filled(where: silent, -Double.infinity).softmax(-1).filled(where: silent, 0)
  }
}

/// What precedes a classifier's tensors in files.
let classifierPrefix = "base_model.internal_xlora_classifier."
