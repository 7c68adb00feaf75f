import JSONValues
import Layers

extension DecoderFamily {
  /// GPT-2: learned positions, matrices stored as [inputs, outputs].
  static let gpt2 = DecoderFamily(
    modelType: "gpt2",
    defaults: [
      "vocab_size": 50257, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
      "max_position_embeddings": 1024, "layer_norm_epsilon": 1e-5, "tie_word_embeddings": true,
      "activation_function": "gelu_new", "scale_attn_weights": true, "eos_token_id": 50256,
    ],
    keys: [
      "hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
      "max_position_embeddings": "n_positions", "intermediate_size": "n_inner",
      "num_key_value_heads": "n_head",
    ],
    names: .gpt2,
    derivesHeadSize: true,
    dropout: { (reader) throws(ModelError) in try .gpt2(reader) },
    adjust: { (c, reader) throws(ModelError) in
      guard try !reader.flag("add_cross_attention") else {
        throw .unsupported(
          path: reader.path, what: "add_cross_attention true", supported: ["false"])
      }
      guard c.hiddenSize % c.headCount == 0 else {
        throw reader.wrong("num_attention_heads", "a divisor of n_embd \(c.hiddenSize)")
      }
      c.normalization = .layer
      c.normEpsilon = try reader.positiveNumber("layer_norm_epsilon")
      c.activation = try reader.activation("activation_function")
      (c.hasQueryKeyValueBias, c.hasOutputBias, c.hasMLPBias) = (true, true, true)
      c.storesTransposed = true
      let scales = try reader.flag("scale_attn_weights")
      let falls = try reader.flag("scale_attn_by_inverse_layer_idx")
      c.attentionScales = (0..<c.layerCount).map {
        (scales ? 1 / Double(c.headSize).squareRoot() : 1) / (falls ? Double($0 + 1) : 1)
      }
    })
}

extension DecoderNames {
  fileprivate static var gpt2: DecoderNames {
    var names = DecoderNames()
    (names.decoder, names.embedding, names.positions) = ("transformer", "wte", "wpe")
    (names.layers, names.finalNorm) = ("h", "ln_f")
    (names.attention, names.fusedProjections, names.attentionOutput) = ("attn", "c_attn", "c_proj")
    (names.gate, names.up, names.down) = (nil, "c_fc", "c_proj")
    (names.attentionNorm, names.mlpNorm) = ("ln_1", "ln_2")
    return names
  }
}
