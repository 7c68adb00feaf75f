import JSONValues
import Layers

extension EncoderFamily {
  /// ModernBERT: norms first, rotary positions, most layers see a neighbourhood only.
  static let modernbert = EncoderFamily(
    modelType: "modernbert",
    defaults: [
      "vocab_size": 50368, "hidden_size": 768, "num_hidden_layers": 22, "num_attention_heads": 12,
      "intermediate_size": 1152, "max_position_embeddings": 8192, "layer_norm_eps": 1e-5,
      "pad_token_id": 50283, "local_attention": 128, "global_attn_every_n_layers": 3,
      "rope_theta": 160000.0, "rope_local_base_freq": 10000.0,
    ],
    keys: [
      "layer_norm_eps": "norm_eps", "hidden_act": "hidden_activation",
      "rope_theta": "global_rope_theta", "rope_local_base_freq": "local_rope_theta",
    ],
    names: .modernbert,
    heads: EncoderHeads(
      sequence: .modernbert("classifier"), token: .modernbert("classifier"),
      answer: .modernbert("classifier"), maskedLM: .modernbert("decoder")),
    dropout: { (reader) throws(ModelError) in try .modernbert(reader) },
    takesKeysAndValues: false,
    adjust: { (c, reader) throws(ModelError) in
      (c.normsFirst, c.isGated) = (true, true)
      c.hasNormBias = try reader.flag("norm_bias")
      c.hasAttentionBias = try reader.flag("attention_bias")
      c.hasMLPBias = try reader.flag("mlp_bias")
      c.hasHeadBias = try reader.flag("classifier_bias")
      c.hasVocabularyBias = try reader.flag("decoder_bias", default: true)
      c.headActivation = try reader.activation("classifier_activation", default: "gelu")
      let pooling = try reader.string("classifier_pooling", default: "cls")
      guard ["cls", "mean"].contains(pooling) else {
        throw reader.wrong("classifier_pooling", "cls or mean")
      }
      c.classifierPooling = pooling == "mean" ? .mean : .first
      let every = try reader.positive("global_attn_every_n_layers")
      let types =
        try reader.layerTypes(count: c.layerCount)
        ?? (0..<c.layerCount).map { $0 % every == 0 ? "full_attention" : "sliding_attention" }
      let reach = try reader.integer("local_attention") / 2
      c.reaches = types.map { $0 == "sliding_attention" ? reach : nil }
      guard c.headSize % 2 == 0 else {
        throw reader.wrong("num_attention_heads", "heads of an even size")
      }
      let headSize = c.headSize
      c.ropes = try types.map { (type) throws(ModelError) in
        try RopeConfiguration(reader, headSize: headSize, layerType: type)
      }
    })
}

extension EncoderNames {
  fileprivate static var modernbert: EncoderNames {
    var names = EncoderNames()
    (names.encoder, names.layers, names.finalNorm) = ("model", "layers", "final_norm")
    (names.tokens, names.embeddingNorm) = ("embeddings.tok_embeddings", "embeddings.norm")
    (names.positions, names.tokenTypes, names.pooler) = (nil, nil, nil)
    (names.fusedProjections, names.attentionOutput) = ("attn.Wqkv", "attn.Wo")
    (names.attentionNorm, names.mlpNorm) = ("attn_norm", "mlp_norm")
    (names.up, names.down) = ("mlp.Wi", "mlp.Wo")
    return names
  }
}

extension HeadNames {
  fileprivate static func modernbert(_ output: String) -> HeadNames {
    HeadNames(dense: "head.dense", norm: "head.norm", output: output)
  }
}
