"""LoRA's starts and variants through its configuration file; adapters.py has the rest of it."""

from peft import LoraConfig


def config(**changes):
    return lambda: LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "up_proj", "down_proj"],
                                 "task_type": "CAUSAL_LM", **changes})


CASES = {
    "lora": dict(config=config()),
    "dora": dict(config=config(use_dora=True)),
    "dora pissa": dict(config=config(use_dora=True, init_lora_weights="pissa"), scale=0.05),
    "lora bias": dict(config=config(lora_bias=True, target_modules=["q_proj", "v_proj"]), bases=["qwen2"],
                      graft_merges=False),
    "lora bias false": dict(config=config(lora_bias=True, init_lora_weights=False), merges=False),
    "lora orthogonal": dict(config=config(init_lora_weights="orthogonal")),
    "lora pissa": dict(config=config(init_lora_weights="pissa"), scale=0.05),
    "lora pissa rslora": dict(config=config(init_lora_weights="pissa", use_rslora=True), scale=0.05),
    "lora olora": dict(config=config(init_lora_weights="olora"), scale=0.05),
    "lora mica": dict(config=config(init_lora_weights="mica")),
}
