import JSONValues
public import Layers
public import Tensors

/// Shape and switches of an encoder.
public struct EncoderConfiguration: Sendable {
  /// How positions are numbered.
  public enum Positions: Sendable {
    /// 0, 1, ..., padding included.
    case counted
    /// Tokens that are no padding from the padding's id + 1 on; padding has its id.
    case behindPadding(Int)
  }

  /// How the positions of a row become one vector.
  public enum Pooling: Sendable {
    /// The first position's.
    case first
    /// The mean over positions that are no padding.
    case mean
  }

  /// `model_type` of config.json.
  public let modelType: String
  /// Tokens in the vocabulary.
  public let vocabularySize: Int
  /// Width of the residual stream.
  public let hiddenSize: Int
  /// Width inside the MLP.
  public let intermediateSize: Int
  /// Number of blocks.
  public let layerCount: Int
  /// Attention heads.
  public let headCount: Int
  /// Dimensions of one head.
  public var headSize: Int { hiddenSize / headCount }
  /// Rows of the table of positions, or the longest sequence.
  public let positionCount: Int
  /// Segments; 0 where there are none.
  public internal(set) var tokenTypeCount = 0
  /// Added to variances in norms.
  public internal(set) var normEpsilon = 1e-12
  /// Whether norms have biases.
  public internal(set) var hasNormBias = true
  /// The MLP's function.
  public internal(set) var activation = ActivationFunction.gelu
  /// Whether the MLP has a gate: down(f(left) * right) with both halves of its first matrix.
  public internal(set) var isGated = false
  /// Whether linear layers of attention have biases.
  public internal(set) var hasAttentionBias = true
  /// Whether those of the MLP have.
  public internal(set) var hasMLPBias = true
  /// Whether norms stand before attention and MLP instead of behind their sums.
  public internal(set) var normsFirst = false
  /// How positions are numbered.
  public internal(set) var positions = Positions.counted
  /// Rotary embeddings of each layer; empty where positions are learned.
  public internal(set) var ropes: [RopeConfiguration] = []
  /// How far a position sees to either side, for each layer; nil for everything.
  public internal(set) var reaches: [Int?]
  /// The function of layers in heads, where the family does not have another.
  public internal(set) var headActivation = ActivationFunction.gelu
  /// Whether layers in front of the last one of a head have biases.
  public internal(set) var hasHeadBias = true
  /// Whether the head over the vocabulary has a bias.
  public internal(set) var hasVocabularyBias = true
  /// What is dropped in training.
  public internal(set) var dropout = DropoutRates()
  /// Whether blocks take keys and values of virtual tokens.
  let takesKeysAndValues: Bool
  /// What a head on a whole row reads.
  public internal(set) var classifierPooling = Pooling.first
  /// Standard deviation that new weights start with.
  public let initializerRange: Double
  /// Token that fills rows up, or nil.
  public let paddingID: Int?
  /// Whether the head over tokens is the embedding table.
  public let tiesEmbeddings: Bool
  /// Floating-point type that the weights were saved in, or nil when the file does not say.
  public let storedDType: DType?
  /// What parts are called.
  let names: EncoderNames
  let heads: EncoderHeads

  init(_ reader: ConfigurationReader, family: EncoderFamily) throws(ModelError) {
    modelType = family.modelType
    (names, heads) = (family.names, family.heads)
    takesKeysAndValues = family.takesKeysAndValues
    vocabularySize = try reader.positive("vocab_size")
    hiddenSize = try reader.positive("hidden_size")
    intermediateSize = try reader.positive("intermediate_size")
    layerCount = try reader.layerCount("num_hidden_layers")
    headCount = try reader.positive("num_attention_heads")
    guard hiddenSize % headCount == 0 else {
      throw reader.wrong("num_attention_heads", "a divisor of hidden_size \(hiddenSize)")
    }
    positionCount = try reader.positive("max_position_embeddings")
    paddingID = try reader.paddingID(vocabularySize: vocabularySize)
    tiesEmbeddings = try reader.flag("tie_word_embeddings", default: true)
    storedDType = reader.storedDType()
    initializerRange = try reader.number("initializer_range", default: 0.02)
    if names.tokenTypes != nil { tokenTypeCount = try reader.positive("type_vocab_size") }
    normEpsilon = try reader.positiveNumber("layer_norm_eps", default: 1e-12)
    activation = try reader.activation("hidden_act", default: "gelu")
    headActivation = activation
    reaches = Array(repeating: nil, count: layerCount)
    let kind = try reader.string("position_embedding_type", default: "absolute")
    guard kind == "absolute" else {
      throw .unsupported(
        path: reader.path, what: "position_embedding_type \"\(kind)\"", supported: ["absolute"])
    }
    guard try !reader.flag("is_decoder") else {
      throw .unsupported(path: reader.path, what: "is_decoder true", supported: ["false"])
    }
    dropout = try family.dropout(reader)
    try family.adjust(&self, reader)
  }

  /// The number of a row's first position.
  var firstPosition: Int {
    if case .behindPadding(let id) = positions { return id + 1 }
    return 0
  }

  /// Tokens that a row may have.
  public var maximumLength: Int {
    if case .behindPadding(let id) = positions { return positionCount - id - 1 }
    return positionCount
  }
}
