public import Layers
public import Tensors

/// A model that reads with an encoder and writes with a decoder, token by token.
public final class EncoderDecoderForConditionalGeneration: Module {
  /// The model without its head.
  public let model: EncoderDecoderModel
  /// The output head; shares its weight with the embeddings when they are tied.
  public let head: Linear
  /// A number for each token that is added to the head's scores, `[1, vocabulary]`; nil for none.
  public private(set) var logitsBias: Tensor?
  /// The same where it changes anything.
  private var actingBias: Tensor?
  /// Told of the rows that stay when a cache takes others, by their numbers before.
  public var rowObserver: ((_ rows: [Int]) -> Void)?
  /// The table, the stacks and the head, by their family's names.
  public let children: [(name: String, module: any Module)]

  init(model: EncoderDecoderModel, head: Linear, logitsBias: Tensor?, biasActs: Bool) {
    self.model = model
    self.head = head
    self.logitsBias = logitsBias
    actingBias = biasActs ? logitsBias : nil
    children =
      (model.name.isEmpty ? model.children : [(model.name, model)]) + [("lm_head", head)]
  }

  /// Takes the numbers that another model adds to its scores.
  func takeBias(of other: EncoderDecoderForConditionalGeneration) {
    (logitsBias, actingBias) = (other.logitsBias, other.actingBias)
  }

  /// Shape and switches.
  public var configuration: EncoderDecoderConfiguration { model.configuration }
  /// Where the weights live.
  public var device: Device { model.device }

  /// What brings the numbers of the blocks when a pass comes to them; nil where they are always there.
  public var residency: BlockResidency? {
    get { model.residency }
    set { model.residency = newValue }
  }

  /// The blocks as residencies count them: the encoder's, then the decoder's.
  public var blocks: [any Module] { model.blocks }

  /// Parameters that stand in a block and are read in front of all.
  public var parametersBeforeBlocks: [Parameter] { model.parametersBeforeBlocks }

  /// Whether blocks are computed again in the backward pass instead of being kept.
  public var checkpointsActivations: Bool {
    get { model.checkpointsActivations }
    set { model.checkpointsActivations = newValue }
  }

  /// The numbers added to the scores, which files hold although they are never trained.
  public var storedTensors: [(name: String, tensor: Tensor)] {
    logitsBias.map { [("final_logits_bias", $0)] } ?? []
  }

  /// What the encoder makes of rows.
  ///
  /// - Parameters:
  ///   - ids: int64 `[batch, length]`.
  ///   - mask: int64 `[batch, length]`, zero where a position is padding; nil when none is.
  ///   - taskIDs: int64 `[batch]`, tasks of the rows; nil for none.
  /// - Returns: `[batch, length, hiddenSize]`.
  public func encode(_ ids: Tensor, mask: Tensor? = nil, taskIDs: Tensor? = nil) -> Tensor {
    model.encode(ids, mask: mask, taskIDs: taskIDs)
  }

  /// What the decoder makes of the rows written so far; see
  /// ``EncoderDecoderModel/decode(_:states:mask:decoderMask:cache:)``.
  ///
  /// - Parameters:
  ///   - ids: int64 `[batch, length]`; with a cache, only the new positions.
  ///   - states: The encoder's; may be nil once the cache holds them.
  ///   - mask: int64 `[batch, states]` of the encoder's rows, or nil.
  ///   - decoderMask: int64 `[batch, past + length]`, or nil.
  ///   - cache: Keys and values; extended by this call.
  /// - Returns: Hidden states, `[batch, length, hiddenSize]`.
  public func decode(
    _ ids: Tensor, states: Tensor?, mask: Tensor? = nil, decoderMask: Tensor? = nil,
    cache: EncoderDecoderCache? = nil
  ) -> Tensor {
    model.decode(ids, states: states, mask: mask, decoderMask: decoderMask, cache: cache)
  }

  /// A cache for ``decode(_:states:mask:decoderMask:cache:)``.
  ///
  /// - Parameter capacity: Most positions of the decoder, in tokens; virtual ones have room beside them.
  /// - Returns: An empty cache.
  public func makeCache(capacity: Int) -> EncoderDecoderCache {
    let virtual = prompt?.kind == .keysAndValues ? prompt?.length ?? 0 : 0
    return EncoderDecoderCache(
      layerCount: configuration.decoder.layerCount, capacity: capacity + virtual)
  }

  /// Scores of all tokens behind hidden states of the decoder.
  ///
  /// - Parameter states: `[..., hiddenSize]`.
  /// - Returns: `[..., vocabulary]`.
  public func logits(_ states: Tensor) -> Tensor {
    let scores = model.pass.exit { head(scaled(states)) }
    return actingBias.map { scores + $0.squeezed(0) } ?? scores
  }

  /// Scores of the next token at every position of the decoder.
  ///
  /// - Parameter input: Rows with what the decoder has written.
  /// - Returns: `[batch, targets, vocabulary]`.
  /// - Precondition: `decoderIDs` is not nil.
  public func callAsFunction(_ input: Seq2SeqInput) -> Tensor { logits(states(input)) }

  /// Hidden states of the decoder for a batch.
  ///
  /// - Parameters:
  ///   - input: Rows.
  ///   - labels: int64 `[batch, targets]`, from which the decoder's ids follow where the input has none.
  /// - Returns: `[batch, targets, hiddenSize]`.
  public func states(_ input: Seq2SeqInput, labels: Tensor? = nil) -> Tensor {
    guard let ids = input.decoderIDs ?? labels.map(shiftedRight) else {
      preconditionFailure("states: neither the decoder's ids nor labels")
    }
    let states = encode(input.ids, mask: input.mask, taskIDs: input.taskIDs)
    return decode(ids, states: states, mask: input.mask, decoderMask: input.decoderMask)
  }

  /// What the decoder begins with to predict labels: the start token, then all labels but the last;
  /// padding where nothing is asked.
  ///
  /// - Parameter labels: int64 `[batch, targets]`, `ignoredLabel` where nothing is asked.
  /// - Returns: int64 `[batch, targets]`.
  public func shiftedRight(_ labels: Tensor) -> Tensor { model.shiftedRight(labels) }

  /// The mean cross entropy of labels, each at its own position of the decoder.
  ///
  /// - Parameters:
  ///   - input: Rows; without ids of the decoder these follow from the labels.
  ///   - labels: int64 `[batch, targets]`, `ignoredLabel` where nothing is asked.
  /// - Returns: A scalar in float32, zero where nothing is asked.
  public func loss(_ input: Seq2SeqInput, labels: Tensor) -> Tensor {
    summedLoss(input, labels: labels) / Double(max(1, Self.targetCount(of: labels)))
  }

  /// Summed cross entropy of labels; the head is computed where something is asked.
  ///
  /// - Parameters:
  ///   - input: Rows; without ids of the decoder these follow from the labels.
  ///   - labels: int64 `[batch, targets]`, `ignoredLabel` where nothing is asked.
  /// - Returns: A scalar in float32. Divide by ``targetCount(of:)`` for the mean.
  public func summedLoss(_ input: Seq2SeqInput, labels: Tensor) -> Tensor {
    let rows = states(input, labels: labels).rows()
    return withScope(.layer, "lm_head") { headLoss(rows, labels.reshaped([-1])) }
  }

  private func headLoss(_ rows: Tensor, _ flat: Tensor) -> Tensor {
    if let dense = head.projection as? DenseProjection, dense.bias == nil, actingBias == nil {
      return model.pass.exit {
        linearCrossEntropy(scaled(rows), weight: dense.weight.value, labels: flat)
      }
    }
    let asked = (flat .!= Double(ignoredLabel)).nonzeroIndices().reshaped([-1])
    return summedCrossEntropy(
      logits(rows.selecting(0, asked)), labels: flat.selecting(0, asked))
  }

  /// How many labels of a batch count.
  ///
  /// - Parameter labels: int64 `[batch, targets]`.
  /// - Returns: Labels that are not ignored.
  public static func targetCount(of labels: Tensor) -> Int {
    Int((labels .!= Double(ignoredLabel)).sum().item())
  }

  /// Checks that a row fits the model, on either side.
  ///
  /// - Parameter ids: The row's tokens.
  /// - Throws: ``ModelError/input(_:)`` for an empty or too long row and an id outside the vocabulary.
  public func check(_ ids: [Int]) throws(ModelError) { try model.check(ids) }

  private func scaled(_ states: Tensor) -> Tensor {
    configuration.headScale == 1 ? states : states * configuration.headScale
  }
}

extension EncoderDecoderForConditionalGeneration: PromptableModel {
  /// Sizes of the model below the head.
  public var promptShape: PromptShape { model.promptShape }

  /// The model's.
  public var prompt: ModelPrompt? {
    get { model.prompt }
    set { model.prompt = newValue }
  }

  /// Rows of the table that both stacks have in common, scaled where the model scales them.
  ///
  /// - Parameter ids: int64 ids of any shape, within the vocabulary.
  /// - Returns: Their shape and the hidden size, in the model's type.
  public func tokenEmbeddings(_ ids: Tensor) -> Tensor { model.tokenEmbeddings(ids) }

  /// No row has keys and values here before an encoder has read another one.
  ///
  /// - Parameter ids: Ids within the vocabulary.
  /// - Returns: Nothing: methods that ask for this are refused before.
  public func keysAndValues(of ids: [Int]) -> Tensor { model.keysAndValues(of: ids) }
}

extension EncoderDecoderForConditionalGeneration: AdaptableModel {
  /// The `model_type` of `config.json`.
  public var modelType: String { configuration.modelType }

  /// "lm_head".
  public var outputHeadPath: String? { "lm_head" }

  /// The model's.
  public var ownDropout: ModelDropout? { model.dropout }

  /// The generator that dropout inside blocks draws from.
  public var dropoutGenerator: Generator? {
    get { model.dropoutGenerator }
    set { model.dropoutGenerator = newValue }
  }

  /// Told of every batch before it runs.
  public var inputObserver: ((_ batch: DecoderInput, _ past: Int) -> Void)? {
    get { model.inputObserver }
    set { model.inputObserver = newValue }
  }
}
