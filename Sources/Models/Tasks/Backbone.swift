import Layers
import Tensors

/// What the head of a task stands on: an encoder, or a decoder without its own head.
protocol Backbone: Module {
  var modelType: String { get }
  /// Its name inside a model with a head; empty where its parts stand beside the head.
  var name: String { get }
  var vocabularySize: Int { get }
  /// Segments; 0 where there are none.
  var tokenTypeCount: Int { get }
  var maximumLength: Int { get }
  var positionCount: Int { get }
  var paddingID: Int? { get }
  var device: Device { get }
  var checkpointsActivations: Bool { get set }
  var dropoutGenerator: Generator? { get set }
  var inputObserver: ((_ batch: DecoderInput, _ past: Int) -> Void)? { get set }

  /// `[batch, length, hiddenSize]`.
  func states(of input: TaskInput) -> Tensor

  /// What a head on whole rows reads, `[batch, hiddenSize]`.
  func pooled(_ states: Tensor, _ input: TaskInput) -> Tensor

  /// Checks that a row has what ``pooled(_:_:)`` looks for.
  func checkPooling(_ ids: [Int]) throws(ModelError)
}

extension Backbone {
  /// Every row has it.
  func checkPooling(_ ids: [Int]) throws(ModelError) {}
}

extension EncoderModel: Backbone {
  var modelType: String { configuration.modelType }
  var name: String { configuration.names.encoder }
  var vocabularySize: Int { configuration.vocabularySize }
  var tokenTypeCount: Int { configuration.tokenTypeCount }
  var maximumLength: Int { configuration.maximumLength }
  var positionCount: Int { configuration.positionCount }
  var paddingID: Int? { configuration.paddingID }

  func states(of input: TaskInput) -> Tensor { self(input) }

  func pooled(_ states: Tensor, _ input: TaskInput) -> Tensor {
    switch configuration.classifierPooling {
    case .mean: return states.meanOverPositions(input.mask)
    case .first:
      let first = states.selected(1, 0)
      return pooler.map { $0(first).tanh() } ?? first
    }
  }
}

extension DecoderModel: Backbone {
  var modelType: String { configuration.modelType }
  var name: String { configuration.names.decoder }
  var vocabularySize: Int { configuration.vocabularySize }
  var tokenTypeCount: Int { 0 }
  var maximumLength: Int { configuration.maximumLength }
  var positionCount: Int { configuration.maximumLength }
  var paddingID: Int? { configuration.paddingID }
  var device: Device { embedding.device }

  func states(of input: TaskInput) -> Tensor { self(input.forDecoder) }

  /// The last position that is no padding: by its id, as in transformers, or by the mask where the
  /// model has no such token.
  func pooled(_ states: Tensor, _ input: TaskInput) -> Tensor {
    let (batch, length) = (states.size(0), states.size(1))
    let isToken = paddingID.map { input.ids .!= Double($0) } ?? input.mask.map { $0 .!= 0 }
    guard let isToken else { return states.selected(1, length - 1) }
    let places = Tensor.arange(0, length, device: states.device).unsqueezed(0)
    let last = (places * isToken.to(.int64)).indexOfMaximum(-1)  // [B]
    return states.gathered(1, last.reshaped([batch, 1, 1]).expanded([-1, 1, states.size(2)]))
      .squeezed(1)
  }
}

extension Tensor {
  /// The mean of `[batch, length, size]` over positions where a mask `[batch, length]` is not zero.
  func meanOverPositions(_ mask: Tensor?) -> Tensor {
    guard let mask else { return mean([1]) }
    let weights = (mask .!= 0).to(dtype).unsqueezed(-1)
    return (self * weights).sum([1]) / weights.sum([1])
  }
}
