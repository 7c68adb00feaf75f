import JSONValues

extension EncoderDecoderFamily {
  /// BART: learned positions, norms behind the sums, biases everywhere.
  static let bart = EncoderDecoderFamily(
    modelType: "bart",
    defaults: [
      "vocab_size": 50265, "hidden_size": 1024, "max_position_embeddings": 1024,
      "encoder_layers": 12, "encoder_ffn_dim": 4096, "encoder_attention_heads": 16,
      "decoder_layers": 12, "decoder_ffn_dim": 4096, "decoder_attention_heads": 16,
      "activation_function": "gelu", "pad_token_id": 1, "eos_token_id": 2,
      "decoder_start_token_id": 2, "num_labels": 3,
    ],
    keys: ["hidden_size": "d_model"],
    names: .bart, tasks: [.sequenceClassification, .questionAnswering, .featureExtraction],
    stack: { name, width, reader throws(ModelError) in
      let heads = try reader.positive("\(name)_attention_heads")
      guard width % heads == 0 else {
        throw reader.wrong("\(name)_attention_heads", "a divisor of d_model \(width)")
      }
      return Configuration.Stack(
        layerCount: try reader.positive("\(name)_layers"), headCount: heads,
        headSize: width / heads, intermediateSize: try reader.positive("\(name)_ffn_dim"))
    },
    positions: { reader throws(ModelError) in
      // Two rows stand before the first position's, where other models have padding.
      .learned(count: try reader.positive("max_position_embeddings"), unused: 2)
    },
    initializerRange: { _, reader throws(ModelError) in
      try reader.number("init_std", default: 0.02)
    },
    adjust: { c, reader throws(ModelError) in
      c.activation = try reader.activation("activation_function")
      if try reader.flag("scale_embedding") {
        c.embeddingScale = Double(c.hiddenSize).squareRoot()
      }
      c.hasLogitsBias = true
      c.dropout = try .bart(reader)
    })
}

extension EncoderDecoderNames {
  fileprivate static var bart: EncoderDecoderNames {
    var names = EncoderDecoderNames(
      model: "model",
      encoderBlock: Block(
        selfAttention: "self_attn", selfNorm: "self_attn_layer_norm", mlpNorm: "final_layer_norm"),
      decoderBlock: Block(
        selfAttention: "self_attn", selfNorm: "self_attn_layer_norm",
        crossAttention: "encoder_attn", crossNorm: "encoder_attn_layer_norm",
        mlpNorm: "final_layer_norm"))
    (names.positions, names.embeddingNorm) = ("embed_positions", "layernorm_embedding")
    return names
  }
}
