"""LoRA through its configuration file; adapters.py has the rest of it."""

from peft import LoraConfig

CASES = {
    "lora": dict(config=lambda: LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM")),
}
