/// Tables of methods whose defaults are not LoRA's.
extension DefaultTargets {
  static let ia3: [String: TargetModules] = table([
    (["k", "v", "wo"], "t5"), (["k", "v", "wi_1"], "mt5"),
    (["c_attn", "mlp.c_proj"], "gpt2 gpt_bigcode"),
    (["query_key_value", "mlp.dense_4h_to_h"], "bloom"),
    (["key", "value", "output.dense"], "bert roberta"), (["q_proj", "k_proj", "fc2"], "opt"),
    (["q_proj", "v_proj", "fc_out"], "gptj"),
    (
      ["query_key_value", "dense_4h_to_h"], "RefinedWeb RefinedWebModel falcon gpt_neox"
    ),
    (["q_proj", "v_proj", "c_proj"], "gpt_neo"), (["q_proj", "v_proj", "fc2"], "bart phi"),
    (["k_proj", "v_proj", "down_proj"], "llama mistral"),
    (["q_proj", "v_proj", "down_proj"], "gemma gemma2 gemma3_text llama4 qwen2 qwen3"),
    (["k_proj", "v_proj", "w2"], "mixtral"),
    (["key_proj", "value_proj", "output.dense"], "deberta-v2"),
    (["in_proj", "output.dense"], "deberta"),
  ])

  /// Which of ``ia3`` have their input scaled.
  static let ia3Feedforward: [String: TargetModules] = table([
    (["wo"], "t5"), ([], "mt5"), (["mlp.c_proj"], "gpt2 gpt_bigcode"),
    (["mlp.dense_4h_to_h"], "bloom"),
    (["output.dense"], "bert deberta deberta-v2 roberta"), (["fc2"], "bart opt phi"),
    (["fc_out"], "gptj"),
    (["dense_4h_to_h"], "RefinedWeb RefinedWebModel falcon gpt_neox"), (["c_proj"], "gpt_neo"),
    (["down_proj"], "gemma gemma2 gemma3_text llama llama4 mistral qwen2 qwen3"),
    (["w2"], "mixtral"),
  ])

  /// Modules with the numbers of normalisations.
  static let norms: [String: TargetModules] = table([
    (["input_layernorm", "post_attention_layernorm", "norm"], "gemma llama mistral"),
    (["input_layernorm", "post_attention_layernorm", "ln_f"], "bloom falcon"),
    (
      [
        "multi_modal_projector", "input_layernorm", "post_attention_layernorm", "norm",
        "embed_tokens", "lm_head",
      ], "llava"
    ),
    (["layer_norm", "final_layer_norm"], "mt5 t5"),
    (["self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"], "bart"),
    (["ln_1", "ln_2", "ln_f"], "gpt2"),
    (["layernorm", "LayerNorm", "final_layer_norm", "self_attn_layer_norm"], "blip-2"),
    (["ln_1", "ln_f"], "gptj"), (["input_layernorm", "final_layernorm"], "phi"),
    (
      [
        "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
        "post_feedforward_layernorm", "norm",
      ], "gemma2 gemma3_text"
    ),
    (["post_attention_layernorm"], "qwen2 qwen3"),
  ])

  /// Projections to the values of attention.
  static let values: [String: TargetModules] = table([
    (["v"], "mt5 t5"), (["value"], "bert roberta"),
    (
      ["v_proj"],
      """
      bart gemma gemma2 gemma3_text gpt_neo gptj llama llama4 mistral mixtral opt phi qwen2 qwen3
      """
    ),
    (["value_proj"], "deberta-v2"),
  ])

  static let osf: [String: TargetModules] = table([
    (
      ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj", "up_proj"],
      "gemma gemma2 gemma3_text llama llama4 mistral mixtral phi qwen2 qwen3"
    ),
    (["c_attn", "c_proj"], "gpt2 gpt_bigcode"),
    (["query_key_value", "dense_4h_to_h"], "bloom falcon gpt_neox"),
    (["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"], "opt"),
    (["q_proj", "k_proj", "v_proj", "out_proj", "fc_in", "fc_out"], "gptj"),
  ])
}
