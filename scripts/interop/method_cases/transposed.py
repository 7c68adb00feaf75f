"""Methods on GPT-2, whose matrices stand in files as [inputs, outputs]: each that PEFT puts on its Conv1D, and those
that go past them."""

from peft import (
    AdaLoraConfig, DeftConfig, FourierFTConfig, FrodConfig, GraloraConfig, HiraConfig, IA3Config, LNTuningConfig,
    LoraConfig, PrefixTuningConfig, PromptTuningConfig, PveraConfig, RandLoraConfig, ShadowConfig,
    TinyLoraConfig, TrainableTokensConfig, UniLoraConfig, VBLoRAConfig, VeraConfig, WaveFTConfig)

from .prompts import prompt

CAUSAL = dict(task_type="CAUSAL_LM")
SOME = ["c_attn", "mlp.c_proj"]


def case(kind, *, scale=0.1, more={}, **fields):
    return dict(config=lambda: kind(**{"target_modules": SOME, **CAUSAL, **fields}), bases=["gpt2"], scale=scale, **more)


def lora(**fields):
    return case(LoraConfig, **{"r": 4, "lora_alpha": 8, **fields})


def virtual(config):
    return prompt(lambda: config(num_virtual_tokens=5, **CAUSAL), bases=["gpt2"])


def shadow(**fields):
    return dict(config=lambda: ShadowConfig(shadow_alpha=0.5, shadow_dropout=0.0, **CAUSAL, **fields), bases=["gpt2"],
                merges=False)


CASES = {
    "gpt2 lora": lora(),
    "gpt2 lora default": lora(target_modules=None),
    "gpt2 lora all-linear": lora(target_modules="all-linear"),
    "gpt2 lora modules to save": lora(target_modules=["c_attn"], modules_to_save=["c_fc"]),
    "gpt2 lora pissa": lora(init_lora_weights="pissa", scale=0.05),
    "gpt2 lora head": lora(target_modules=["c_attn", "lm_head"]),
    "gpt2 lora tokens": lora(target_modules=["c_attn"], trainable_token_indices=[3, 17, 60]),
    "gpt2 lora embeddings": lora(target_modules=["wte", "c_attn"]),
    "gpt2 dora": lora(use_dora=True),
    "gpt2 adalora": case(AdaLoraConfig, target_r=2, init_r=4, total_step=4, orth_reg_weight=0, scale=0.3,
                         more=dict(rate=5e-2)),
    "gpt2 ia3": case(IA3Config, feedforward_modules=["mlp.c_proj"], scale=0.3),
    "gpt2 ia3 default": case(IA3Config, target_modules=None, scale=0.3),
    "gpt2 vera": case(VeraConfig, r=8),
    "gpt2 pvera": case(PveraConfig, r=8),
    "gpt2 randlora": case(RandLoraConfig, r=6, randlora_alpha=12,
                          more=dict(repeated=["randlora_A", "randlora_B"])),
    "gpt2 vblora": case(VBLoRAConfig, num_vectors=20, vector_length=8, scale=0.5),
    "gpt2 unilora": case(UniLoraConfig, theta_d_length=100, scale=0.5),
    "gpt2 tinylora": case(TinyLoraConfig, r=4, u=8),
    "gpt2 frod": case(FrodConfig, sparse_rate=0.05, progressbar=False),
    "gpt2 fourierft": case(FourierFTConfig, n_frequency=200, more=dict(rate=1e-1)),
    "gpt2 waveft": case(WaveFTConfig, n_frequency=200),
    "gpt2 hira": case(HiraConfig, r=4, scale=0.5, more=dict(rate=1e-1)),
    "gpt2 gralora": case(GraloraConfig, r=4, gralora_k=2),
    "gpt2 deft": case(DeftConfig, r=4),
    "gpt2 ln tuning": case(LNTuningConfig, target_modules=["ln_1", "ln_2", "ln_f"]),
    "gpt2 trainable tokens": dict(config=lambda: TrainableTokensConfig(token_indices=[3, 17, 60], **CAUSAL),
                                  bases=["gpt2"]),
    "gpt2 prompt tuning": virtual(PromptTuningConfig),
    "gpt2 prefix tuning": virtual(PrefixTuningConfig),
    # PEFT's files have a table of embeddings that is neither used nor given a gradient.
    "gpt2 shadow": shadow() | dict(differentiates=False),
    "gpt2 shadow own embeddings": shadow(share_embeddings=False),
}
