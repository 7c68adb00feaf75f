import JSONValues
public import Tensors

/// What distinguishes one family of Llama-like decoders from another.
struct DecoderFamily: Sendable {
  /// `model_type` of config.json.
  let modelType: String
  let defaultTheta: Double
  let defaultEpsilon: Double
  /// Head size when the key is missing; nil for hidden size / heads.
  var defaultHeadSize: Int?
  /// Biases of q, k, v whatever the file says; nil when `attention_bias` decides.
  var queryKeyValueBias: Bool?
  /// Whether `attention_bias` gives the output projection a bias too.
  var outputFollowsAttentionBias = true
  /// RMS norms over each head of queries and keys.
  var queryKeyNorm = false
  /// Sliding window of each layer, read from the file.
  var slidingWindow: @Sendable (ConfigurationReader, _ layer: Int) throws(ModelError) -> Int? = {
    (_, _) throws(ModelError) in nil
  }
}

/// Shape and switches of a Llama-like decoder.
public struct DecoderConfiguration: Sendable {
  /// `model_type` of config.json.
  public let modelType: String
  /// Tokens in the vocabulary.
  public let vocabularySize: Int
  /// Width of the residual stream.
  public let hiddenSize: Int
  /// Width inside the gated MLP.
  public let intermediateSize: Int
  /// Number of blocks.
  public internal(set) var layerCount: Int
  /// Query heads.
  public let headCount: Int
  /// Key/value heads; divides `headCount`.
  public let keyValueHeadCount: Int
  /// Dimensions of one head.
  public let headSize: Int
  /// Added to mean squares in norms.
  public let normEpsilon: Double
  /// Rotary embeddings.
  public let rope: RopeConfiguration
  /// Whether q, k and v have biases.
  public let hasQueryKeyValueBias: Bool
  /// Whether the attention's output projection has a bias.
  public let hasOutputBias: Bool
  /// Whether the MLP's matrices have biases.
  public let hasMLPBias: Bool
  /// Whether each head of queries and keys is normalised before rotation.
  public let hasQueryKeyNorm: Bool
  /// How many keys up to itself a position sees, for each layer; nil for all.
  public internal(set) var slidingWindows: [Int?]
  /// Whether the output head is the embedding table.
  public let tiesEmbeddings: Bool
  /// Longest sequence that the model was made for, in tokens.
  public let maximumLength: Int
  /// Tokens that end a text.
  public let endOfTextIDs: [Int]
  /// Token that fills rows up, or nil.
  public let paddingID: Int?
  /// Floating-point type that the weights were saved in, or nil when the file does not say.
  public let storedDType: DType?

  init(_ reader: ConfigurationReader, family: DecoderFamily) throws(ModelError) {
    modelType = family.modelType
    vocabularySize = try reader.positive("vocab_size")
    hiddenSize = try reader.positive("hidden_size")
    intermediateSize = try reader.positive("intermediate_size")
    layerCount = try reader.positive("num_hidden_layers")
    headCount = try reader.positive("num_attention_heads")
    keyValueHeadCount = try reader.positive("num_key_value_heads", default: headCount)
    let present = reader.json["head_dim"] != nil
    headSize = try reader.positive(
      "head_dim", default: (present ? nil : family.defaultHeadSize) ?? hiddenSize / headCount)
    guard headCount % keyValueHeadCount == 0 else {
      throw reader.wrong("num_key_value_heads", "a divisor of num_attention_heads \(headCount)")
    }
    guard headSize % 2 == 0 else { throw reader.wrong("head_dim", "an even number") }
    normEpsilon = try reader.number("rms_norm_eps", default: family.defaultEpsilon)
    rope = try RopeConfiguration(reader, defaultTheta: family.defaultTheta)
    let bias = try reader.flag("attention_bias", default: false)
    hasQueryKeyValueBias = family.queryKeyValueBias ?? bias
    hasOutputBias = family.outputFollowsAttentionBias && bias
    hasMLPBias = try reader.flag("mlp_bias", default: false)
    hasQueryKeyNorm = family.queryKeyNorm
    var windows: [Int?] = []
    for layer in 0..<layerCount { windows.append(try family.slidingWindow(reader, layer)) }
    slidingWindows = windows
    tiesEmbeddings = try reader.flag("tie_word_embeddings", default: false)
    maximumLength = try reader.positive("max_position_embeddings", default: 2048)
    endOfTextIDs = try reader.ids("eos_token_id")
    // Old files say -1 for none.
    let vocabulary = 0..<vocabularySize
    paddingID = try reader.ids("pad_token_id").first.flatMap { vocabulary.contains($0) ? $0 : nil }
    // "torch_dtype" until transformers 4, "dtype" since.
    storedDType = (reader.json["dtype"] ?? reader.json["torch_dtype"])?.stringValue
      .flatMap(DType.init(name:)).flatMap { $0.isFloatingPoint ? $0 : nil }
    let activation = try reader.string("hidden_act", default: "silu")
    guard activation == "silu" || activation == "swish" else {
      throw .unsupported(
        path: reader.path, what: "hidden_act \"\(activation)\"", supported: ["silu"])
    }
  }
}
