import Layers
import Tensors

/// What the head of a task stands on: an encoder, or a decoder without its own head.
protocol Backbone: Module {
  var modelType: String { get }
  var vocabularySize: Int { get }
  /// Segments; 0 where there are none.
  var tokenTypeCount: Int { get }
  var maximumLength: Int { get }
  var positionCount: Int { get }
  var paddingID: Int? { get }
  var device: Device { get }
  var checkpointsActivations: Bool { get set }
  var dropout: ModelDropout { get }
  /// What is dropped in training.
  var dropoutRates: DropoutRates { get }
  var dropoutGenerator: Generator? { get set }
  var prompt: ModelPrompt? { get set }
  var promptShape: PromptShape { get }
  /// Whether the blocks take keys and values of virtual tokens.
  var takesKeysAndValues: Bool { get }
  var inputObserver: ((_ batch: DecoderInput, _ past: Int) -> Void)? { get set }
  /// What brings the numbers of the blocks; nil where they are always there.
  var residency: BlockResidency? { get set }
  /// How a pass comes to its blocks.
  var pass: BlockPass { get }
  /// The blocks as residencies count them; none where there is no residency.
  var blocks: [any Module] { get }

  /// Parameters that stand in a block and are read in front of all.
  var parametersBeforeBlocks: [Parameter] { get }

  /// `[batch, leading + length, hiddenSize]`, and how many virtual tokens are in front.
  func allStates(of input: TaskInput) -> (states: Tensor, leading: Int)

  /// What a head on whole rows reads, `[batch, hiddenSize]`, of those states.
  func pooled(_ states: Tensor, leading: Int, _ input: TaskInput) -> Tensor

  func tokenEmbeddings(_ ids: Tensor) -> Tensor

  /// `[layers, 2, heads, count, head size]`.
  func keysAndValues(of ids: [Int]) -> Tensor

  /// Checks that a row has what ``pooled(_:leading:_:)`` looks for.
  func checkPooling(_ ids: [Int]) throws(ModelError)
}

extension Backbone {
  /// None.
  var parametersBeforeBlocks: [Parameter] { [] }

  /// Every row has it.
  func checkPooling(_ ids: [Int]) throws(ModelError) {}
}

extension EncoderModel: Backbone {
  var blocks: [any Module] { layers }
  var modelType: String { configuration.modelType }
  var vocabularySize: Int { configuration.vocabularySize }
  var tokenTypeCount: Int { configuration.tokenTypeCount }
  var maximumLength: Int { configuration.maximumLength }
  var positionCount: Int { configuration.positionCount }
  var paddingID: Int? { configuration.paddingID }

  var dropoutRates: DropoutRates { configuration.dropout }
  var takesKeysAndValues: Bool { configuration.takesKeysAndValues }

  var promptShape: PromptShape {
    let c = configuration
    return PromptShape(
      hiddenSize: c.hiddenSize, vocabularySize: c.vocabularySize, layerCount: c.layerCount,
      headCount: c.headCount, keyValueHeadCount: c.headCount, headSize: c.headSize,
      maximumLength: c.maximumLength)
  }

  func allStates(of input: TaskInput) -> (states: Tensor, leading: Int) { states(of: input) }

  func tokenEmbeddings(_ ids: Tensor) -> Tensor { pass.entry { embeddings.tokens(ids) } }

  /// Virtual tokens count as positions: as in PEFT the first one is read where they are embeddings.
  func pooled(_ states: Tensor, leading: Int, _ input: TaskInput) -> Tensor {
    switch configuration.classifierPooling {
    case .mean:
      let mask = input.mask.map { own in
        let before = Tensor.ones(
          [own.size(0), leading], dtype: own.dtype, device: own.device)
        return leading == 0 ? own : Tensor.concatenated([before, own], dimension: 1)
      }
      return states.meanOverPositions(mask)
    case .first:
      let first = states.selected(1, 0)
      return pooler.map { pooler in pass.exit { pooler(first) }.tanh() } ?? first
    }
  }
}

extension DecoderModel: Backbone {
  var modelType: String { configuration.modelType }
  var vocabularySize: Int { configuration.vocabularySize }
  var tokenTypeCount: Int { 0 }
  var maximumLength: Int { configuration.maximumLength }
  var positionCount: Int { configuration.maximumLength }
  var paddingID: Int? { configuration.paddingID }
  var device: Device { embedding.device }

  var dropoutRates: DropoutRates { configuration.dropout }
  var takesKeysAndValues: Bool { true }

  var promptShape: PromptShape {
    let c = configuration
    return PromptShape(
      hiddenSize: c.hiddenSize, vocabularySize: c.vocabularySize, layerCount: c.layerCount,
      headCount: c.headCount, keyValueHeadCount: c.keyValueHeadCount, headSize: c.headSize,
      maximumLength: c.maximumLength)
  }

  func allStates(of input: TaskInput) -> (states: Tensor, leading: Int) {
    states(input.forDecoder)
  }

  /// The last position that is no padding.
  ///
  /// That is seen by its id, as in transformers, or by the mask where the model has no such token. Behind virtual tokens too, where PEFT takes the last position of all.
  func pooled(_ all: Tensor, leading: Int, _ input: TaskInput) -> Tensor {
    let states = leading == 0 ? all : all.narrowed(1, leading..<all.size(1))
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
