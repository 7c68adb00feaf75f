/// What the parts of a decoder are called in its family's checkpoints.
struct DecoderNames: Sendable {
  /// The decoder inside a model with a head.
  var decoder = "model"
  var embedding = "embed_tokens"
  /// Table of learned positions; nil where they are rotary.
  var positions: String?
  var layers = "layers"
  var finalNorm = "norm"

  var attention = "self_attn"
  var query = "q_proj"
  var key = "k_proj"
  var value = "v_proj"
  /// One matrix with the rows of query, key and value; nil for three.
  var fusedProjections: String?
  var attentionOutput = "o_proj"
  var queryNorm = "q_norm"
  var keyNorm = "k_norm"

  var mlp = "mlp"
  /// nil for an MLP without a gate.
  var gate: String? = "gate_proj"
  var up = "up_proj"
  /// One matrix with the rows of gate and up; nil for two.
  var fusedGate: String?
  var down = "down_proj"

  /// Norm before attention, or nil.
  var attentionNorm: String? = "input_layernorm"
  /// Norm of what attention gives, before it is added, or nil.
  var attentionOutputNorm: String?
  /// Norm before the MLP, or nil; where attention and MLP are parallel, they share one norm.
  var mlpNorm: String? = "post_attention_layernorm"
  /// Norm of what the MLP gives, before it is added, or nil.
  var mlpOutputNorm: String?
}
