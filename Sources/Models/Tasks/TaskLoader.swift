import Checkpoints
import Layers
import Tensors

/// Builds a model with the head of a task over the weights of a checkpoint.
struct TaskLoader {
  let task: ModelTask
  /// Outputs of a classification head; nil where the task has none.
  let labels: ModelLabels?
  /// Start of the random numbers of new layers.
  let seed: UInt64
  /// Takes the numbers of blocks; nil for leaving them where they are.
  var residency: BlockResidency?

  /// An encoder.
  func model(_ configuration: EncoderConfiguration, _ weights: ModelWeights) throws -> TaskModel {
    let c = configuration
    let heads = HeadLoader(
      weights, initializerRange: c.initializerRange, storedDType: c.storedDType, seed: seed)
    let names: HeadNames? =
      switch task {
      case .maskedLM: c.heads.maskedLM
      case .sequenceClassification: c.heads.sequence
      case .tokenClassification: c.heads.token
      case .questionAnswering: c.heads.answer
      case .causalLM, .seq2seqLM, .featureExtraction: nil
      }
    var tokens: Embedding?
    let head = try names.map { names in
      try heads.head(
        names, activation: c.headActivation, size: c.hiddenSize, hasBias: c.hasHeadBias,
        normBias: c.hasNormBias, epsilon: c.normEpsilon
      ) {
        if let labels { return try heads.linear(names.output, [labels.names.count, c.hiddenSize]) }
        let bias = try vocabularyBias(names, c, heads)
        let (table, output) = try weights.embeddingAndHead(
          weights.prefix + c.names.tokens, names.output, shape: [c.vocabularySize, c.hiddenSize],
          isTied: c.tiesEmbeddings, bias: bias)
        tokens = table
        return output
      }
    }
    let encoder = try EncoderLoader(configuration: c, weights: weights, residency: residency).model(
      tokens, pooler: try pooler(c, heads), head: labels == nil ? head : nil)
    return TaskModel(
      task, encoder, backboneName: c.names.encoder, head: head, names: names,
      labels: task == .questionAnswering ? nil : labels, newLayers: heads.newLayers)
  }

  /// A decoder; heads over the vocabulary do not stand on one.
  func model(_ loader: DecoderLoader) throws -> TaskModel {
    let (c, weights) = (loader.configuration, loader.weights)
    let heads = HeadLoader(
      weights, initializerRange: c.initializerRange, storedDType: c.storedDType, seed: seed)
    let found = DecoderHeads.head(task, c)
    let head = try found.map { found in
      TaskHead(
        output: try heads.linear(
          found.names.output, [labels?.names.count ?? 2, c.hiddenSize], hasBias: found.hasBias))
    }
    let decoder = try loader.model()
    return TaskModel(
      task, decoder, backboneName: DecoderHeads.baseName(task, c), head: head,
      names: found?.names, labels: task == .questionAnswering ? nil : labels,
      newLayers: heads.newLayers)
  }

  /// A model with encoder and decoder.
  func model(_ loader: EncoderDecoderLoader, _ family: EncoderDecoderFamily) throws -> TaskModel {
    let (c, weights) = (loader.configuration, loader.weights)
    let heads = HeadLoader(
      weights, initializerRange: c.initializerRange, storedDType: c.storedDType, seed: seed)
    let names: HeadNames? =
      switch task {
      case .sequenceClassification:
        HeadNames(
          dense: "classification_head.dense", activation: .tanh,
          output: "classification_head.out_proj")
      case .tokenClassification: HeadNames(output: "classifier")
      case .questionAnswering: HeadNames(output: "qa_outputs")
      default: nil
      }
    let head = try names.map { names in
      try heads.head(
        names, activation: .tanh, size: c.hiddenSize, hasBias: true, normBias: true,
        epsilon: c.normEpsilon
      ) { try heads.linear(names.output, [labels?.names.count ?? 2, c.hiddenSize]) }
    }
    let hasDecoder =
      task != .tokenClassification && !(task == .featureExtraction && family.featuresOfEncoder)
    let name = c.names.base(for: task)
    return TaskModel(
      task, try loader.model(name: name, hasDecoder: hasDecoder), backboneName: name, head: head,
      names: names, labels: task == .questionAnswering ? nil : labels, newLayers: heads.newLayers)
  }

  private func vocabularyBias(
    _ names: HeadNames, _ c: EncoderConfiguration, _ heads: HeadLoader
  ) throws -> Parameter? {
    guard c.hasVocabularyBias else { return nil }
    let paths = [names.outputBias, names.output + ".bias"].compactMap { $0 }
    return try heads.vocabularyBias(paths, count: c.vocabularySize)
  }

  /// The pooler where the task reads it; where it is only offered, not one that would be new.
  private func pooler(_ c: EncoderConfiguration, _ heads: HeadLoader) throws -> Linear? {
    guard let name = c.names.pooler else { return nil }
    let (path, shape) = (c.names.encoder + "." + name, [c.hiddenSize, c.hiddenSize])
    switch task {
    case .sequenceClassification where c.heads.usesPooler:
      return try heads.linear(path, shape, prefix: c.names.encoder + ".")
    case .featureExtraction:
      let weights = heads.weights
      guard weights.offers("\(weights.prefix)\(name).weight") else { return nil }
      return try weights.linear(weights.prefix + name, shape, hasBias: true)
    default: return nil
    }
  }
}
