import Layers

/// What the parts of an encoder are called in its family's checkpoints.
struct EncoderNames: Sendable {
  /// The encoder inside a model with a head.
  var encoder = "bert"
  var tokens = "embeddings.word_embeddings"
  /// Table of learned positions; nil where they are rotary.
  var positions: String? = "embeddings.position_embeddings"
  /// Table of segments, or nil.
  var tokenTypes: String? = "embeddings.token_type_embeddings"
  var embeddingNorm = "embeddings.LayerNorm"
  var layers = "encoder.layer"
  /// Norm behind the last layer, or nil.
  var finalNorm: String?
  /// The layer on the first token's vector, or nil.
  var pooler: String? = "pooler.dense"

  var query = "attention.self.query"
  var key = "attention.self.key"
  var value = "attention.self.value"
  /// One matrix with the rows of query, key and value; nil for three.
  var fusedProjections: String?
  var attentionOutput = "attention.output.dense"
  var attentionNorm = "attention.output.LayerNorm"
  var up = "intermediate.dense"
  var down = "output.dense"
  var mlpNorm = "output.LayerNorm"
}

/// What a head consists of: norm(f(dense(x))) where there are such, then the last layer.
struct HeadNames: Sendable {
  var dense: String?
  /// f; nil for the configuration's.
  var activation: ActivationFunction?
  var norm: String?
  /// The last layer, one output for each class or token.
  var output: String
  /// Its bias, where files call it something else than a part of the layer.
  var outputBias: String?
}

/// The heads of a family of encoders.
struct EncoderHeads: Sendable {
  /// On one vector for each row.
  var sequence: HeadNames
  /// On each position.
  var token: HeadNames
  /// On each position, for the first and the last one of an answer.
  var answer: HeadNames
  /// Over the vocabulary.
  var maskedLM: HeadNames
  /// Whether the vector of a row goes through the pooler first.
  var usesPooler = false
}
