import JSONValues
import Layers

extension DecoderFamily {
  /// Gemma 1: weights of norms count from one, embeddings are scaled.
  static let gemma = DecoderFamily(
    modelType: "gemma",
    defaults: ["head_dim": 256, "tie_word_embeddings": true, "max_position_embeddings": 8192],
    adjust: { (c, _) throws(ModelError) in
      c.setGemmaNumbers()
      // Its files say "gelu" and mean this one.
      c.activation = .geluTanh
    })

  /// Gemma 2: four norms a block, capped scores, every other layer slides.
  static let gemma2 = DecoderFamily(
    modelType: "gemma2",
    defaults: [
      "head_dim": 256, "tie_word_embeddings": true, "max_position_embeddings": 8192,
      "num_key_value_heads": 4, "query_pre_attn_scalar": 256, "sliding_window": 4096,
      "final_logit_softcapping": 30, "attn_logit_softcapping": 50,
      "hidden_activation": "gelu_pytorch_tanh",
    ],
    names: .fourNorms,
    adjust: { (c, reader) throws(ModelError) in
      try c.setGemma2Switches(reader)
      try c.slide(reader) { $0 % 2 == 0 }
    })

  /// Gemma 3, text: norms on queries and keys, two kinds of rotary embeddings.
  static let gemma3 = DecoderFamily(
    modelType: "gemma3_text",
    defaults: [
      "head_dim": 256, "tie_word_embeddings": true, "max_position_embeddings": 131072,
      "vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216,
      "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
      "query_pre_attn_scalar": 256, "sliding_window": 4096, "rope_theta": 1_000_000,
      "hidden_activation": "gelu_pytorch_tanh", "sliding_window_pattern": 6,
    ],
    names: .fourNorms,
    adjust: { (c, reader) throws(ModelError) in
      try c.setGemma2Switches(reader)
      c.queryKeyNorm = .perHead
      let pattern = try reader.positive("sliding_window_pattern")
      try c.slide(reader) { ($0 + 1) % pattern != 0 }
      let (full, local) = (
        try RopeConfiguration(reader, headSize: c.headSize, layerType: "full_attention"),
        try RopeConfiguration(reader, headSize: c.headSize, layerType: "sliding_attention")
      )
      c.ropes = c.slidingWindows.map { $0 == nil ? full : local }
    })
}

extension DecoderNames {
  /// Norms before and behind attention and MLP.
  fileprivate static var fourNorms: DecoderNames {
    var names = DecoderNames()
    names.attentionOutputNorm = "post_attention_layernorm"
    names.mlpNorm = "pre_feedforward_layernorm"
    names.mlpOutputNorm = "post_feedforward_layernorm"
    return names
  }
}

extension DecoderConfiguration {
  fileprivate mutating func setGemmaNumbers() {
    normalization = .rootMeanSquare(.wideOffset)
    embeddingScale = Double(hiddenSize).squareRoot()
  }

  fileprivate mutating func setGemma2Switches(_ reader: ConfigurationReader) throws(ModelError) {
    setGemmaNumbers()
    guard try !reader.flag("use_bidirectional_attention") else {
      throw .unsupported(
        path: reader.path, what: "use_bidirectional_attention true", supported: ["false"])
    }
    activation = try reader.activation("hidden_activation")
    let scalar = try reader.positiveNumber("query_pre_attn_scalar")
    attentionScales = Array(repeating: 1 / scalar.squareRoot(), count: layerCount)
    attentionSoftcap = try reader.optionalNumber("attn_logit_softcapping")
    logitsSoftcap = try reader.optionalNumber("final_logit_softcapping")
  }
}
