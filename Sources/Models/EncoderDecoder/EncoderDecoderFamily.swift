import JSONValues

/// What distinguishes one family of models with encoder and decoder from another.
struct EncoderDecoderFamily: Sendable {
  typealias Configuration = EncoderDecoderConfiguration

  /// `model_type` of config.json.
  let modelType: String
  /// What its class has for keys that a file leaves out.
  var defaults: [String: JSON] = [:]
  /// Other names of keys in its files.
  var keys: [String: String] = [:]
  var names: EncoderDecoderNames
  /// Tasks, beside text, that there are heads for.
  var tasks: [ModelTask]
  /// Whether embeddings and head are one table whatever a file says, where it does not hold several.
  var alwaysTies = false
  /// Whether features are what the encoder makes; else what the decoder makes of the same row.
  var featuresOfEncoder = false
  /// Sizes of the stack of a name, "encoder" or "decoder", for a width of the residual stream.
  var stack:
    @Sendable (_ name: String, _ width: Int, ConfigurationReader) throws(ModelError) ->
      Configuration.Stack
  var positions: @Sendable (ConfigurationReader) throws(ModelError) -> Configuration.Positions
  /// Standard deviation of new weights of heads for a width of the residual stream.
  var initializerRange: @Sendable (_ width: Int, ConfigurationReader) throws(ModelError) -> Double
  /// Sets what is different from the configuration's defaults.
  var adjust: @Sendable (inout Configuration, ConfigurationReader) throws(ModelError) -> Void

  /// A reader that knows the family's keys and defaults.
  func reader(_ json: JSON, path: String) -> ConfigurationReader {
    ConfigurationReader(json: json, path: path, defaults: defaults, names: keys)
  }
}

/// What the parts of a model with encoder and decoder are called in its family's checkpoints.
struct EncoderDecoderNames: Sendable {
  /// What the parts of a block are called.
  struct Block: Sendable {
    var selfAttention: String
    var selfNorm: String
    var crossAttention: String?
    var crossNorm: String?
    /// What stands before the names of the MLP's layers, with a dot behind it.
    var mlp = ""
    var mlpNorm: String
  }

  /// The bare model inside one with a head that classifies rows.
  var model: String
  /// Whether the parts of the bare model stand beside the head of other tasks, without its name.
  var standsOpen = false
  var encoderBlock: Block
  var decoderBlock: Block
  var shared = "shared"
  var tokens = "embed_tokens"
  /// Table of learned positions, or nil.
  var positions: String?
  /// Norm of the embeddings, or nil.
  var embeddingNorm: String?
  /// The first block's table of numbers for distances below its attention, or nil.
  var relativeBias: String?
  var layers = "layers"
  /// Norm behind the last block, or nil.
  var finalNorm: String?
  var query = "q_proj"
  var key = "k_proj"
  var value = "v_proj"
  var output = "out_proj"
  /// The gate of a gated MLP.
  var gate = ""
  /// The MLP's first layer beside a gate.
  var gatedUp = ""
  var up = "fc1"
  var down = "fc2"

  /// What stands before the bare model's names in a model for a task.
  func base(for task: ModelTask) -> String {
    switch task {
    case .featureExtraction: ""
    case .sequenceClassification, .tokenClassification: model
    default: standsOpen ? "" : model
    }
  }
}
