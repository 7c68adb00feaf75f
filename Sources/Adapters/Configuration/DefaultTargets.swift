/// Layers that PEFT 0.21.2 adapts in a type of model when nothing is said, by `model_type`.
enum DefaultTargets {
  static let lora: [String: TargetModules] = table([
    (["q", "v"], "mt5 t5"),
    (
      ["q_proj", "v_proj"],
      """
      bart gemma gemma2 gemma3_text gpt_neo gptj llama llama4 mistral mixtral opt qwen2 qwen3 \
      stablelm
      """
    ),
    (["c_attn"], "gpt2 gpt_bigcode"),
    (["query_key_value"], "RefinedWeb RefinedWebModel bloom chatglm falcon gpt_neox"),
    (["q", "v", "q_proj", "v_proj"], "blip-2"),
    (["query", "value"], "bert electra layoutlm roberta xlm-roberta"),
    (["query_proj", "value_proj"], "deberta-v2"), (["in_proj"], "deberta"), (["Wqkv"], "mpt"),
    (["c_proj", "c_attn"], "btlm"), (["qkv_proj"], "codegen"),
    (["q_proj", "v_proj", "fc1", "fc2"], "phi"),
    (["q_proj", "k_proj", "v_proj", "o_proj"], "nemotron_h"),
    (["key", "value", "receptance", "output"], "rwkv"),
    (["r_proj", "k_proj", "v_proj", "o_proj", "key", "value"], "rwkv7"),
  ]).merging(["gemma4": .pattern(#".*language_model\..*\.(q_proj|v_proj)"#)]) { _, new in new }

  /// As LoRA's but for the GPT-2s; of C3A and FourierFT.
  static let fourier = lora.merging(table([(["mlp.c_proj"], "gpt2 gpt_bigcode")])) { _, new in new }

  /// As ``fourier`` without some types.
  static let wavelet = fourier.filter { !["btlm", "rwkv", "rwkv7"].contains($0.key) }

  /// As LoRA's but for Phi.
  static let shira = lora.merging(table([(["q_proj", "v_proj"], "phi")])) { _, new in new }
  /// VeRA's: as LoRA's but for Phi.
  static let vera = lora.merging(table([(["q_proj", "v_proj"], "phi")])) { _, new in new }
  /// PVeRA's: as VeRA's, and DINOv2.
  static let pvera = vera.merging(table([(["query", "value"], "dinov2")])) { _, new in new }
  /// FRoD's: as VeRA's, and ViT.
  static let frod = vera.merging(table([(["query", "value"], "vit")])) { _, new in new }
  /// AdaMSS's: as LoRA's, and ViT.
  static let adamss = lora.merging(table([(["query", "value"], "vit")])) { _, new in new }

  /// AdaLoRA's.
  static let adaLoRA: [String: TargetModules] = table([
    (["q", "k", "v", "o", "wi", "wo"], "t5"), (["q", "k", "v", "o", "wi_0", "wi_1", "wo"], "mt5"),
    (["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"], "bart opt"),
    (["c_attn"], "gpt2 gpt_bigcode"), (["query_key_value"], "bloom gpt_neox"),
    (["q_proj", "v_proj"], "gemma gemma2 gemma3_text gpt_neo gptj llama llama4 qwen2 qwen3"),
    (["query", "value"], "bert"), (["query", "key", "value", "dense"], "roberta"),
    (["query_proj", "key_proj", "value_proj", "dense"], "deberta-v2"), (["in_proj"], "deberta"),
    (["q_proj", "k_proj", "v_proj", "o_proj"], "nemotron_h"),
  ]).merging(["gemma4": .pattern(#".*language_model\..*\.(q_proj|v_proj)"#)]) { _, new in new }
  /// VB-LoRA's: as AdaLoRA's but for RoBERTa.
  static let vbLoRA = adaLoRA.merging(table([(["query", "value"], "roberta")])) { _, new in new }

  /// A table from lists of layers and the types of models, with spaces, that have them.
  static func table(_ rows: [(layers: [String], modelTypes: String)]) -> [String: TargetModules] {
    var result: [String: TargetModules] = [:]
    for (layers, modelTypes) in rows {
      for name in modelTypes.split(separator: " ") { result[String(name)] = .names(layers) }
    }
    return result
  }
}
