import JSONValues

extension GGUFModelShape {
  /// The content of config.json, in the spelling that every version of transformers reads.
  func configuration(dtype: GGUFImporter.DType, tokens: GGUFSpecialTokens) -> JSON {
    var fields = JSONObject()
    fields["architectures"] = [.string(architecture.className)]
    fields["bos_token_id"] = tokens.begin.map { .integer($0) } ?? .null
    fields["eos_token_id"] = tokens.end.map { .integer($0) } ?? .null
    fields["pad_token_id"] = tokens.padding.map { .integer($0) } ?? .null
    fields["initializer_range"] = 0.02
    fields["model_type"] = .string(architecture.modelType)
    fields["tie_word_embeddings"] = .bool(!hasOutput)
    fields["torch_dtype"] = .string(dtype.rawValue)
    fields["use_cache"] = true
    fields["vocab_size"] = .integer(vocabularySize)
    if architecture == .gpt2 {
      addGPT2(&fields)
    } else {
      addDecoder(&fields)
      for (key, value) in familyFields { fields[key] = value }
    }
    return .object(JSONObject(fields.sorted { $0.key < $1.key }))
  }

  private func addDecoder(_ fields: inout JSONObject) {
    fields["attention_dropout"] = 0.0
    fields["head_dim"] = .integer(headSize)
    fields["hidden_act"] = "silu"
    fields["hidden_size"] = .integer(hiddenSize)
    fields["intermediate_size"] = .integer(feedForwardSize)
    fields["max_position_embeddings"] = .integer(contextLength)
    fields["num_attention_heads"] = .integer(headCount)
    fields["num_hidden_layers"] = .integer(layerCount)
    fields["num_key_value_heads"] = .integer(keyValueHeadCount)
    fields["rms_norm_eps"] = .number(epsilon)
    fields["rope_scaling"] = ropeScaling
    fields["rope_theta"] = .number(ropeBase)
    switch architecture {
    case .llama, .granite:
      fields["attention_bias"] = .bool(hasAttentionBias)
      fields["mlp_bias"] = .bool(hasFeedForwardBias)
    case .qwen2, .qwen3: fields["use_sliding_window"] = false
    default: break
    }
  }

  private func addGPT2(_ fields: inout JSONObject) {
    fields["activation_function"] = "gelu_new"
    fields["layer_norm_epsilon"] = .number(epsilon)
    fields["n_embd"] = .integer(hiddenSize)
    fields["n_head"] = .integer(headCount)
    fields["n_inner"] = .integer(feedForwardSize)
    fields["n_layer"] = .integer(layerCount)
    fields["n_positions"] = .integer(contextLength)
    fields["n_ctx"] = .integer(contextLength)
    for key in ["attn_pdrop", "embd_pdrop", "resid_pdrop"] { fields[key] = 0.0 }
  }

  /// What config.json says of a family besides sizes.
  static func familyFields(
    _ architecture: GGUFArchitecture, _ fields: GGUFFields, layerCount: Int, hiddenSize: Int,
    headCount: Int, headSize: Int, rotatedSize: Int, contextLength: Int
  ) throws(CheckpointError) -> [(key: String, value: JSON)] {
    let prefix = architecture.rawValue
    func number(_ key: String) throws(CheckpointError) -> JSON? {
      try fields.optionalNumber("\(prefix).\(key)").map { .number($0) }
    }
    func window() throws(CheckpointError) -> JSON {
      try fields.optionalSize("\(prefix).attention.sliding_window").map { .integer($0) } ?? .null
    }
    // llama.cpp knows the largest models of Gemma 2 and 3 by their blocks and scales queries by the
    // hidden size there.
    func scalar(largest: Int) -> JSON {
      .integer(layerCount == largest ? hiddenSize / headCount : headSize)
    }
    func layers(_ isFull: (Int) -> Bool) -> JSON {
      .array((0..<layerCount).map { isFull($0) ? "full_attention" : "sliding_attention" })
    }
    let gelu: JSON = "gelu_pytorch_tanh"
    switch architecture {
    case .llama, .qwen2, .gpt2: return []
    case .qwen3, .olmo2: return [("attention_bias", false)]
    case .gemma:
      return [("hidden_act", gelu), ("hidden_activation", gelu), ("attention_bias", false)]
    case .gemma2:
      return [
        ("hidden_act", gelu), ("hidden_activation", gelu), ("attention_bias", false),
        ("query_pre_attn_scalar", scalar(largest: 46)), ("sliding_window", try window()),
        ("attn_logit_softcapping", try number("attn_logit_softcapping") ?? 50.0),
        ("final_logit_softcapping", try number("final_logit_softcapping") ?? 30.0),
        ("layer_types", layers { $0 % 2 == 1 }),
      ]
    case .gemma3:
      return [
        ("hidden_activation", gelu), ("hidden_act", gelu), ("attention_bias", false),
        ("query_pre_attn_scalar", scalar(largest: 62)), ("sliding_window", try window()),
        ("attn_logit_softcapping", .null),
        ("final_logit_softcapping", try number("final_logit_softcapping") ?? JSON.null),
        ("layer_types", layers { $0 % 6 == 5 }), ("rope_local_base_freq", 10000.0),
      ]
    case .phi3:
      let original =
        try fields.optionalSize("\(prefix).rope.scaling.original_context_length") ?? contextLength
      return [
        ("attention_bias", false), ("sliding_window", try window()),
        ("original_max_position_embeddings", .integer(original)),
        ("partial_rotary_factor", .number(Double(rotatedSize) / Double(headSize))),
      ]
    case .granite:
      return [
        (
          "attention_multiplier",
          try number("attention.scale")
            ?? .number(1 / Double(headSize).squareRoot())
        ),
        ("embedding_multiplier", try number("embedding_scale") ?? 1.0),
        ("residual_multiplier", try number("residual_scale") ?? 1.0),
        ("logits_scaling", try number("logit_scale") ?? 1.0),
      ]
    case .smollm3:
      return [
        ("attention_bias", false), ("mlp_bias", false), ("use_sliding_window", false),
        ("sliding_window", .null), ("no_rope_layer_interval", 4),
        ("no_rope_layers", .array((0..<layerCount).map { ($0 + 1) % 4 == 0 ? 0 : 1 })),
        ("layer_types", layers { _ in true }),
      ]
    }
  }
}
