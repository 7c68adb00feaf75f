import Layers
import Models
import Tensors

/// A small decoder and the blocks' corrections by its states.
final class ShadowNetwork: PassCompanion {
  private let backbone: DecoderModel
  private let projection: Parameter?
  private let blocks: [Int: ShadowBlock]
  private let last: Int
  /// Share of the small decoder's own loss; 0 for none.
  private let auxiliaryWeight: Double
  private unowned let decoder: DecoderModel
  private var supervised: Tensor?

  init(
    backbone: DecoderModel, projection: Parameter?, blocks: [Int: ShadowBlock],
    auxiliaryWeight: Double, decoder: DecoderModel
  ) {
    self.backbone = backbone
    self.projection = projection
    self.blocks = blocks
    last = blocks.keys.max() ?? 0
    self.auxiliaryWeight = auxiliaryWeight
    self.decoder = decoder
  }

  func begin(_ batch: DecoderInput, cache: KeyValueCache?) -> Tensor? {
    backbone.checkpointsActivations = decoder.checkpointsActivations
    let own = cache?.companion(layerCount: backbone.configuration.layerCount)
    let states = backbone(batch, cache: own)
    let initial = projection.map { states.linear($0.value) } ?? states
    supervised = auxiliaryWeight > 0 && isRecordingGradients ? initial : nil
    return initial
  }

  func run(_ index: Int, _ x: Tensor, carried: Tensor, block: (Tensor) -> Tensor) -> [Tensor] {
    guard let own = blocks[index] else { return [block(x)] }
    let output = block(own.corrected(x, carried))
    return index == last ? [output] : [output, own.updated(carried, by: output)]
  }

  func parameters(ofBlock index: Int) -> [Parameter] {
    blocks[index].map { $0.correction + (index == last ? [] : $0.update) } ?? []
  }

  func takeSupervised() -> (states: Tensor, weight: Double)? {
    defer { supervised = nil }
    return supervised.map { ($0, auxiliaryWeight) }
  }
}

/// What corrects one block's input, and takes the small decoder's states on from its output.
final class ShadowBlock {
  /// Two linear layers with a GELU between them.
  private struct Perceptron {
    let (inner, innerBias, outer, outerBias): (Parameter, Parameter, Parameter, Parameter)

    init(size: Int, width: Int, _ source: some ParameterSource) {
      func bias(_ count: Int, from inputs: Int) -> Parameter {
        source.uniform([count], bound: 1 / Double(inputs).squareRoot())
      }
      inner = source.linearUniform([width, size])
      innerBias = bias(width, from: size)
      outer = source.linearUniform([size, width])
      outerBias = bias(size, from: width)
    }

    func callAsFunction(_ x: Tensor) -> Tensor {
      (x.linear(inner.value) + innerBias.value).gelu().linear(outer.value) + outerBias.value
    }

    var parameters: [(name: String, parameter: Parameter)] {
      [("0.weight", inner), ("0.bias", innerBias), ("2.weight", outer), ("2.bias", outerBias)]
    }
  }

  private let (down, up): (Parameter, Parameter)
  private let (transform, gate): (Perceptron, Perceptron)
  private let config: ShadowConfig
  private let context: AdapterContext

  init(_ config: ShadowConfig, size: Int, _ site: ModelSite) {
    self.config = config
    context = site.context
    down = site.linearUniform([config.rank, size])
    let shape = [size, config.rank]
    up = config.startsAtIdentity ? site.zeros(shape) : site.linearUniform(shape)
    let width = config.updateSize ?? config.rank
    transform = Perceptron(size: size, width: width, site)
    gate = Perceptron(size: size, width: width, site)
  }

  /// Parameters of the correction.
  var correction: [Parameter] { [down, up] }

  /// Parameters of what takes the states on.
  var update: [Parameter] { (transform.parameters + gate.parameters).map(\.parameter) }

  /// Its tensors, with the names that files put behind the block's path.
  ///
  /// The "default" in them is part of the format, whatever the adapter is called.
  var parameters: [AdapterParameter] {
    [
      AdapterParameter("shadow_down.default.weight", down),
      AdapterParameter("shadow_up.default.weight", up),
    ]
      + [("transform", transform), ("gate", gate)].flatMap { name, part in
        part.parameters.map {
          AdapterParameter("shadow_update_\(name).default.\($0.name)", $0.parameter)
        }
      }
  }

  /// What the block gets instead of x, in x's type.
  func corrected(_ x: Tensor, _ states: Tensor) -> Tensor {
    let difference = context.dropped(x.to(states.dtype) - states, config.dropout)
    return x.adding(wide: difference.linear(down.value).linear(up.value) * config.alpha)
  }

  /// The states behind the block.
  func updated(_ states: Tensor, by output: Tensor) -> Tensor {
    let wide = output.to(states.dtype)
    let share = gate(wide).sigmoid()
    return states - share * states + share * transform(wide)
  }
}
