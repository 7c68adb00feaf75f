#!/usr/bin/env python3
"""Merging by PEFT: makes an adapter, merges it, or compares two merged models.

    merge.py make MODEL ADAPTER | merge MODEL ADAPTER OUTPUT | compare A B
"""

import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def make(model, adapter):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    peft = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", init_lora_weights=False))
    peft.save_pretrained(adapter)


def merge(model, adapter, output):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    PeftModel.from_pretrained(base, adapter).merge_and_unload().save_pretrained(output)


def compare(left, right):
    from safetensors import safe_open

    with safe_open(f"{left}/model.safetensors", "pt") as a, safe_open(f"{right}/model.safetensors", "pt") as b:
        names = set(a.keys()) & set(b.keys())
        assert len(names) > 100, names
        print(max((a.get_tensor(name) - b.get_tensor(name)).abs().max().item() for name in names))


if __name__ == "__main__":
    {"make": make, "merge": merge, "compare": compare}[sys.argv[1]](*sys.argv[2:])
