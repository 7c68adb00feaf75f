import JSONValues
import Layers

extension EncoderFamily {
  /// DistilBERT: BERT's blocks under other names, without segments and pooler.
  static let distilbert = EncoderFamily(
    modelType: "distilbert",
    defaults: [
      "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 6, "num_attention_heads": 12,
      "intermediate_size": 3072, "max_position_embeddings": 512, "pad_token_id": 0,
    ],
    keys: [
      "hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads",
      "intermediate_size": "hidden_dim", "hidden_act": "activation",
    ],
    names: .distilbert,
    heads: EncoderHeads(
      sequence: HeadNames(dense: "pre_classifier", activation: .relu, output: "classifier"),
      token: HeadNames(output: "classifier"), answer: HeadNames(output: "qa_outputs"),
      maskedLM: HeadNames(
        dense: "vocab_transform", norm: "vocab_layer_norm", output: "vocab_projector")),
    dropout: { (reader) throws(ModelError) in try .distilbert(reader) },
    takesKeysAndValues: false)
}

extension EncoderNames {
  fileprivate static var distilbert: EncoderNames {
    var names = EncoderNames()
    (names.encoder, names.layers) = ("distilbert", "transformer.layer")
    (names.tokenTypes, names.pooler) = (nil, nil)
    (names.query, names.key) = ("attention.q_lin", "attention.k_lin")
    (names.value, names.attentionOutput) = ("attention.v_lin", "attention.out_lin")
    (names.attentionNorm, names.mlpNorm) = ("sa_layer_norm", "output_layer_norm")
    (names.up, names.down) = ("ffn.lin1", "ffn.lin2")
    return names
  }
}
