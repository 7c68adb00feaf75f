import JSONValues
public import Layers
public import Tensors

/// Shape and switches of a decoder.
public struct DecoderConfiguration: Sendable {
  /// How the vectors of the residual stream are normalised.
  public enum NormKind: Sendable {
    /// By their root mean square.
    case rootMeanSquare(RMSNorm.Weighting)
    /// To mean 0 and variance 1.
    case layer
  }

  /// Which norms queries and keys go through before rotation.
  public enum QueryKeyNorm: Sendable {
    /// None.
    case none
    /// One over the dimensions of each head.
    case perHead
    /// One over all heads together.
    case whole
  }

  /// `model_type` of config.json.
  public let modelType: String
  /// Tokens in the vocabulary.
  public let vocabularySize: Int
  /// Width of the residual stream.
  public internal(set) var hiddenSize: Int
  /// Width inside the MLP.
  public internal(set) var intermediateSize: Int
  /// Number of blocks.
  public internal(set) var layerCount: Int
  /// Query heads.
  public internal(set) var headCount: Int
  /// Key/value heads; divides `headCount`.
  public let keyValueHeadCount: Int
  /// Dimensions of one head.
  public internal(set) var headSize: Int
  /// Whether the output head is the embedding table.
  public let tiesEmbeddings: Bool
  /// Longest sequence that the model was made for, in tokens.
  public internal(set) var maximumLength: Int
  /// Token that begins a text, or nil.
  public let beginOfTextID: Int?
  /// Tokens that end a text.
  public let endOfTextIDs: [Int]
  /// Token that fills rows up, or nil.
  public let paddingID: Int?
  /// Standard deviation that new weights start with.
  public let initializerRange: Double
  /// Whether the head size follows from the other sizes, so that it changes with them.
  let derivesHeadSize: Bool
  /// Floating-point type that the weights were saved in, or nil when the file does not say.
  public let storedDType: DType?

  /// Norms of the residual stream.
  public internal(set) var normalization = NormKind.rootMeanSquare(.cast)
  /// Added to mean squares or variances in norms.
  public internal(set) var normEpsilon = 1e-6
  /// Rotary embeddings of each layer; nil for a layer without positions.
  public internal(set) var ropes: [RopeConfiguration?] = []
  /// How many keys up to itself a position sees, for each layer; nil for all.
  public internal(set) var slidingWindows: [Int?] = []
  /// Factor of queries times keys, for each layer.
  public internal(set) var attentionScales: [Double] = []
  /// Queries at position p are multiplied by 1 + b log(1 + floor(p / original length)); nil for not.
  public internal(set) var queryGrowth: (b: Double, originalLength: Int)?
  /// Attention scores are c tanh(score / c); nil for as they are.
  public internal(set) var attentionSoftcap: Double?
  /// Norms of queries and keys.
  public internal(set) var queryKeyNorm = QueryKeyNorm.none
  /// Whether q, k and v have biases.
  public internal(set) var hasQueryKeyValueBias = false
  /// Whether the attention's output projection has a bias.
  public internal(set) var hasOutputBias = false
  /// Whether the MLP's matrices have biases.
  public internal(set) var hasMLPBias = false
  /// Whether the output head has a bias.
  public internal(set) var hasHeadBias = false
  /// Whether the head of token classification has a bias.
  public internal(set) var hasTokenHeadBias = true
  /// The MLP's function.
  public internal(set) var activation = ActivationFunction.silu
  /// Whether attention and MLP read the same normalised vectors and are added at once.
  public internal(set) var isParallel = false
  /// Whether matrices of the blocks are stored as [inputs, outputs].
  public internal(set) var storesTransposed = false
  /// Factor of embeddings.
  public internal(set) var embeddingScale = 1.0
  /// Factor of what each block adds.
  public internal(set) var residualScale = 1.0
  /// Divisor of the scores of tokens.
  public internal(set) var logitsDivisor = 1.0
  /// Scores of tokens are c tanh(score / c); nil for as they are.
  public internal(set) var logitsSoftcap: Double?
  /// What is dropped in training.
  public internal(set) var dropout = DropoutRates()
  /// What parts are called.
  var names: DecoderNames

  init(_ reader: ConfigurationReader, family: DecoderFamily) throws(ModelError) {
    modelType = family.modelType
    names = family.names
    vocabularySize = try reader.positive("vocab_size")
    hiddenSize = try reader.positive("hidden_size")
    layerCount = try reader.layerCount("num_hidden_layers")
    headCount = try reader.positive("num_attention_heads")
    intermediateSize = try reader.positive("intermediate_size", default: 4 * hiddenSize)
    keyValueHeadCount = try reader.positive("num_key_value_heads", default: headCount)
    headSize = try reader.positive("head_dim", default: max(1, hiddenSize / headCount))
    derivesHeadSize = family.derivesHeadSize && !reader.mentions("head_dim")
    initializerRange = try reader.number("initializer_range", default: 0.02)
    guard headCount % keyValueHeadCount == 0 else {
      throw reader.wrong("num_key_value_heads", "a divisor of num_attention_heads \(headCount)")
    }
    guard headCount * headSize < 1 << 31 else {
      throw reader.wrong("head_dim", "less than 2^31 divided by num_attention_heads \(headCount)")
    }
    guard names.positions != nil || headSize % 2 == 0 else {
      throw reader.wrong("head_dim", "an even number")
    }
    tiesEmbeddings = try reader.flag("tie_word_embeddings", default: false)
    maximumLength = try reader.positive("max_position_embeddings", default: 2048)
    beginOfTextID = try reader.ids("bos_token_id").first
    endOfTextIDs = try reader.ids("eos_token_id")
    paddingID = try reader.paddingID(vocabularySize: vocabularySize)
    storedDType = reader.storedDType()
    normEpsilon = try reader.positiveNumber("rms_norm_eps", default: 1e-6)
    let bias = try reader.flag("attention_bias")
    (hasQueryKeyValueBias, hasOutputBias) = (bias, bias)
    hasMLPBias = try reader.flag("mlp_bias")
    hasTokenHeadBias = try reader.flag("token_classification_bias", default: true)
    attentionScales = Array(
      repeating: 1 / Double(headSize).squareRoot(), count: layerCount)
    slidingWindows = Array(repeating: nil, count: layerCount)
    activation = try reader.activation("hidden_act", default: "silu")
    if names.positions == nil {
      ropes = Array(
        repeating: try RopeConfiguration(reader, headSize: headSize), count: layerCount)
    } else {
      ropes = Array(repeating: nil, count: layerCount)
    }
    dropout = try family.dropout(reader)
    try family.adjust(&self, reader)
    if case .dynamic(let factor, let length)? = ropes.first??.scaling {
      maximumLength = Int(min(Double(length) * max(1, factor), 0x1p31).rounded())
    }
  }

  /// Has the settings of some layers as those of all, in this order.
  mutating func takeLayers(_ origins: [Int]) {
    slidingWindows = origins.map { slidingWindows[$0] }
    ropes = origins.map { ropes[$0] }
    attentionScales = origins.map { attentionScales[$0] }
    layerCount = origins.count
  }

  /// Gives every layer the window of the file, if it has one.
  mutating func slideEverywhere(_ reader: ConfigurationReader) throws(ModelError) {
    guard reader.has("sliding_window") else { return }
    slidingWindows = Array(repeating: try reader.positive("sliding_window"), count: layerCount)
  }

  /// Gives layers the window of the file by their `layer_types`, or by `isSliding` where it has none.
  mutating func slide(
    _ reader: ConfigurationReader, where isSliding: (Int) -> Bool
  ) throws(ModelError) {
    guard reader.has("sliding_window") else { return }
    let window = try reader.positive("sliding_window")
    let types = try reader.layerTypes(count: layerCount)
    slidingWindows = (0..<layerCount).map { layer in
      let slides = types.map { $0[layer] == "sliding_attention" } ?? isSliding(layer)
      return slides ? window : nil
    }
  }
}
