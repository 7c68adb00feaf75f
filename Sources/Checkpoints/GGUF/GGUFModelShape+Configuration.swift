import JSONValues

extension GGUFModelShape {
  /// The content of config.json, in the spelling that every version of transformers reads.
  func configuration(dtype: GGUFImporter.DType, tokens: GGUFSpecialTokens) -> JSON {
    var fields = JSONObject()
    let isLlama = architecture == .llama
    fields["architectures"] = [.string(isLlama ? "LlamaForCausalLM" : "Qwen2ForCausalLM")]
    if isLlama { fields["attention_bias"] = .bool(hasAttentionBias) }
    fields["attention_dropout"] = 0.0
    fields["bos_token_id"] = tokens.begin.map { .integer($0) } ?? .null
    fields["eos_token_id"] = tokens.end.map { .integer($0) } ?? .null
    fields["pad_token_id"] = tokens.padding.map { .integer($0) } ?? .null
    fields["head_dim"] = .integer(headSize)
    fields["hidden_act"] = "silu"
    fields["hidden_size"] = .integer(hiddenSize)
    fields["initializer_range"] = 0.02
    fields["intermediate_size"] = .integer(feedForwardSize)
    fields["max_position_embeddings"] = .integer(contextLength)
    if isLlama { fields["mlp_bias"] = .bool(hasFeedForwardBias) }
    fields["model_type"] = .string(architecture.rawValue)
    fields["num_attention_heads"] = .integer(headCount)
    fields["num_hidden_layers"] = .integer(layerCount)
    fields["num_key_value_heads"] = .integer(keyValueHeadCount)
    fields["rms_norm_eps"] = .number(epsilon)
    fields["rope_scaling"] = ropeScaling
    fields["rope_theta"] = .number(ropeBase)
    fields["tie_word_embeddings"] = .bool(!hasOutput)
    fields["torch_dtype"] = .string(dtype.rawValue)
    fields["use_cache"] = true
    if !isLlama { fields["use_sliding_window"] = false }
    fields["vocab_size"] = .integer(vocabularySize)
    return .object(fields)
  }
}
