public import Layers
public import Tensors

/// An encoder or a decoder with the head of a task, or with none for features.
public final class TaskModel: Module {
  /// What it is for.
  public let task: ModelTask
  /// The outputs of a classification head; nil for other heads.
  public let labels: ModelLabels?
  /// Paths of layers that the checkpoint did not have and that began with random numbers: they have
  /// to be trained, and saved with whatever is trained.
  public internal(set) var newLayers: [String]
  /// The model below the head, and the head, by their family's names.
  public let children: [(name: String, module: any Module)]
  let backbone: any Backbone
  let head: TaskHead?
  let headPath: String?
  let headNames: HeadNames?

  init(
    _ task: ModelTask, _ backbone: any Backbone, backboneName: String, head: TaskHead?,
    names: HeadNames?, labels: ModelLabels?, newLayers: [String]
  ) {
    self.task = task
    headNames = names
    self.backbone = backbone
    self.head = head
    self.labels = labels
    self.newLayers = newLayers
    headPath = names?.output
    guard let head, let names else {
      children = backbone.children
      return
    }
    var parts: [(name: String, module: any Module)] =
      backboneName.isEmpty ? backbone.children : [(backboneName, backbone)]
    if let dense = head.dense, let name = names.dense { parts.append((name, dense)) }
    if let norm = head.norm, let name = names.norm { parts.append((name, norm)) }
    children = ModuleGroup(parts + [(names.output, head.output)]).children
  }

  /// The `model_type` of `config.json`.
  public var modelType: String { backbone.modelType }
  /// Tokens in the vocabulary.
  public var vocabularySize: Int { backbone.vocabularySize }
  /// Segments that a row may have; 0 where there are none.
  public var tokenTypeCount: Int { backbone.tokenTypeCount }
  /// Tokens that a row may have.
  public var maximumLength: Int { backbone.maximumLength }
  /// Positions that the model tells apart: more than a row's tokens where they are counted from behind
  /// the padding's id.
  public var positionCount: Int { backbone.positionCount }
  /// Token that fills rows up, or nil.
  public var paddingID: Int? { backbone.paddingID }
  /// Whether a decoder reads rows behind an encoder, so that rows may have ids of its own.
  public var readsWithDecoder: Bool { (backbone as? EncoderDecoderModel)?.decoder != nil }
  /// What brings the numbers of the blocks to the passes; nil where they are always there.
  public var residency: BlockResidency? {
    get { backbone.residency }
    set { backbone.residency = newValue }
  }

  /// The blocks as residencies count them.
  public var blocks: [any Module] { backbone.blocks }

  /// Parameters that stand in a block and are read in front of all.
  public var parametersBeforeBlocks: [Parameter] { backbone.parametersBeforeBlocks }

  /// Where the weights live.
  public var device: Device { backbone.device }
  /// Whether blocks are computed again in the backward pass instead of being kept.
  public var checkpointsActivations: Bool {
    get { backbone.checkpointsActivations }
    set { backbone.checkpointsActivations = newValue }
  }

  /// Whether layers of a decoder's blocks that allow it are computed together; encoders have none.
  public var usesFusedLayers: Bool {
    get { (backbone as? DecoderModel)?.usesFusedLayers ?? false }
    set { (backbone as? DecoderModel)?.usesFusedLayers = newValue }
  }

  /// What the pooler makes of a row's first position, as transformers' `pooler_output`.
  ///
  /// - Parameter input: Ids, masks and segments.
  /// - Returns: `[batch, hiddenSize]`; nil for a model without a pooler.
  public func poolerOutput(_ input: TaskInput) -> Tensor? {
    guard let encoder = backbone as? EncoderModel, let pooler = encoder.pooler else { return nil }
    let first = backbone.allStates(of: input).states.selected(1, 0)
    return encoder.pass.exit { pooler(first) }.tanh()
  }

  /// Hidden states behind the last block and norm.
  ///
  /// - Parameter input: Ids, masks and segments.
  /// - Returns: `[batch, length, hiddenSize]`.
  public func states(_ input: TaskInput) -> Tensor {
    let (states, leading) = backbone.allStates(of: input)
    return leading == 0 ? states : states.narrowed(1, leading..<states.size(1))
  }

  /// What the head gives.
  ///
  /// - Parameter input: Ids, masks and segments.
  /// - Returns: Scores of classes or numbers, `[batch, outputs]`; of tokens or their classes,
  ///   `[batch, length, outputs]`; of positions as an answer's first and last, `[batch, length, 2]`.
  ///   Without a head the hidden states.
  public func callAsFunction(_ input: TaskInput) -> Tensor {
    guard head != nil else { return states(input) }
    guard task == .sequenceClassification else { return scored(states(input)) }
    return rowScores(input)
  }

  /// What the head gives for whole rows, `[batch, outputs]`.
  func rowScores(_ input: TaskInput) -> Tensor {
    let (states, leading) = backbone.allStates(of: input)
    return scored(backbone.pooled(states, leading: leading, input))
  }

  /// What the head gives for first and last positions of answers, virtual tokens among them.
  ///
  /// - Parameter input: Ids, masks and segments.
  /// - Returns: `[batch, leading + length, 2]`, and how many positions in front are virtual tokens.
  public func positionScores(_ input: TaskInput) -> (scores: Tensor, leading: Int) {
    let (states, leading) = backbone.allStates(of: input)
    return (scored(states), leading)
  }

  /// What the head gives for states.
  func scored(_ states: Tensor) -> Tensor {
    guard let head else { preconditionFailure("scored: \(task.rawValue) has no head") }
    let (dropout, rates) = (backbone.dropout, backbone.dropoutRates)
    return withScope(.layer, headPath ?? "head") {
      backbone.pass.exit {
        head(
          dropout(states, task == .sequenceClassification ? rates.rowHeadInput : 0),
          dropped: { dropout($0, self.headRate(rates)) })
      }
    }
  }

  /// What is dropped in front of the head's last layer.
  private func headRate(_ rates: DropoutRates) -> Double {
    switch task {
    case .sequenceClassification: rates.rowHead
    case .tokenClassification: rates.tokenHead
    case .questionAnswering: rates.answerHead
    case .causalLM, .seq2seqLM, .maskedLM, .featureExtraction: 0
    }
  }

  /// Checks that a row fits the model.
  ///
  /// - Parameter ids: The row's tokens.
  /// - Throws: ``ModelError/input(_:)`` for an empty or too long row, an id outside the vocabulary, and
  ///   a row without the token that a classification looks for.
  public func check(_ ids: [Int]) throws(ModelError) {
    guard !ids.isEmpty else { throw .input("a row has no tokens") }
    if let bad = ids.first(where: { $0 < 0 || $0 >= vocabularySize }) {
      throw .input("token id \(bad) is outside the vocabulary of \(vocabularySize)")
    }
    guard ids.count <= rowLimit else {
      let virtual = prompt.map { " behind \($0.length) virtual ones" } ?? ""
      throw .input(
        "\(ids.count) tokens\(virtual) are more than the model's limit of \(maximumLength)")
    }
    if task == .sequenceClassification { try backbone.checkPooling(ids) }
  }

  /// One vector for each row, as models of sentences have it.
  ///
  /// - Parameters:
  ///   - input: Ids, masks and segments.
  ///   - pooling: The first position's, or the mean over those that are no padding.
  /// - Returns: `[batch, hiddenSize]`.
  public func embeddings(_ input: TaskInput, pooling: EncoderConfiguration.Pooling) -> Tensor {
    let states = states(input)
    switch pooling {
    case .first: return states.selected(1, 0)
    case .mean: return states.meanOverPositions(input.mask)
    }
  }
}

extension TaskModel: AdaptableModel {
  /// The last layer of a head over the vocabulary or on rows; PEFT takes those of other tasks, and of
  /// models with encoder and decoder, for layers as any.
  public var outputHeadPath: String? {
    guard !(backbone is EncoderDecoderModel) else { return nil }
    return task == .maskedLM || task == .sequenceClassification ? headPath : nil
  }

  /// The backbone's.
  public var ownDropout: ModelDropout? { backbone.dropout }

  /// The generator that dropout inside blocks draws from.
  public var dropoutGenerator: Generator? {
    get { backbone.dropoutGenerator }
    set { backbone.dropoutGenerator = newValue }
  }

  /// Told of every batch before it runs.
  public var inputObserver: ((_ batch: DecoderInput, _ past: Int) -> Void)? {
    get { backbone.inputObserver }
    set { backbone.inputObserver = newValue }
  }
}
