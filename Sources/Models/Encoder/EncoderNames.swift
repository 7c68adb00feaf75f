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
