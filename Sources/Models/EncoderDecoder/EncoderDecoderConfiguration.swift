import JSONValues
public import Layers
public import Tensors

/// Shape and switches of a model that reads with an encoder and writes with a decoder.
public struct EncoderDecoderConfiguration: Sendable {
  /// Sizes of one of the two stacks of blocks.
  public struct Stack: Equatable, Sendable {
    /// Number of blocks.
    public let layerCount: Int
    /// Attention heads.
    public let headCount: Int
    /// Dimensions of one head.
    public let headSize: Int
    /// Width inside the MLP.
    public let intermediateSize: Int
  }

  /// How positions act.
  public enum Positions: Equatable, Sendable {
    /// By numbers for distances, added to the scores of all blocks; rows of any length.
    case relative(RelativePositions)
    /// By a table with a row for each position, the first ones unused.
    case learned(count: Int, unused: Int)
  }

  /// `model_type` of config.json.
  public let modelType: String
  /// Tokens in the vocabulary.
  public let vocabularySize: Int
  /// Width of the residual stream.
  public let hiddenSize: Int
  /// The blocks that read.
  public let encoder: Stack
  /// The blocks that write.
  public let decoder: Stack
  /// How positions act.
  public let positions: Positions
  /// Token that what is written begins with.
  public let decoderStartID: Int
  /// Token that fills rows up.
  public let paddingID: Int
  /// Tokens that end a text.
  public let endIDs: [Int]
  /// Whether embeddings and output head are one table.
  public let tiesEmbeddings: Bool
  /// Standard deviation that new weights start with.
  public let initializerRange: Double
  /// Floating-point type that the weights were saved in, or nil when the file does not say.
  public let storedDType: DType?

  /// Norms of the residual stream.
  public internal(set) var normalization = DecoderConfiguration.NormKind.layer
  /// Added to mean squares or variances in norms.
  public internal(set) var normEpsilon = 1e-5
  /// Whether norms stand before attention and MLP instead of behind their sums.
  public internal(set) var normsFirst = false
  /// The MLP's function.
  public internal(set) var activation = ActivationFunction.gelu
  /// Whether the MLP has a gate: down(f(gate(x)) * up(x)).
  public internal(set) var isGated = false
  /// Whether linear layers have biases.
  public internal(set) var hasBias = true
  /// Whether scores are divided by the root of the head size.
  public internal(set) var scalesScores = true
  /// Factor of the embeddings.
  public internal(set) var embeddingScale = 1.0
  /// Factor of what the output head reads.
  public internal(set) var headScale = 1.0
  /// Whether a number for each token is added to the output head's scores.
  public internal(set) var hasLogitsBias = false
  /// Whether the MLP's last layer stays float32 in a float16 model and is never quantised.
  public internal(set) var keepsDownWide = false
  /// What is dropped in training.
  public internal(set) var dropout = DropoutRates()
  /// What parts are called.
  let names: EncoderDecoderNames

  init(_ reader: ConfigurationReader, family: EncoderDecoderFamily) throws(ModelError) {
    modelType = family.modelType
    names = family.names
    vocabularySize = try reader.positive("vocab_size")
    hiddenSize = try reader.positive("hidden_size")
    encoder = try family.stack("encoder", hiddenSize, reader)
    decoder = try family.stack("decoder", hiddenSize, reader)
    positions = try family.positions(reader)
    guard let padding = try reader.paddingID(vocabularySize: vocabularySize) else {
      throw reader.wrong("pad_token_id", "a token id below vocab_size \(vocabularySize)")
    }
    paddingID = padding
    decoderStartID =
      reader.has("decoder_start_token_id")
      ? try reader.integer("decoder_start_token_id") : padding
    guard decoderStartID < vocabularySize else {
      throw reader.wrong(
        "decoder_start_token_id", "a token id below vocab_size \(vocabularySize)")
    }
    endIDs = try reader.ids("eos_token_id")
    tiesEmbeddings =
      family.alwaysTies ? true : try reader.flag("tie_word_embeddings", default: true)
    initializerRange = try family.initializerRange(hiddenSize, reader)
    storedDType = reader.storedDType()
    try family.adjust(&self, reader)
  }

  /// Tokens that a row may have on either side; nil for any number.
  public var maximumLength: Int? {
    if case .learned(let count, _) = positions { return count }
    return nil
  }
}
