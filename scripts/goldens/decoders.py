#!/usr/bin/env python3
"""Tiny checkpoints of every decoder family with transformers' logits, and PEFT adapters on them.

    .peers/bin/python scripts/goldens/decoders.py

Writes Tests/ModelsTests/Fixtures and Tests/AdaptersTests/Fixtures anew. Each folder holds the files
of a checkpoint or an adapter and expected.safetensors; manifest.json says what made them.
"""

import json
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts/interop"))

import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file

from peers import disturb, load_model, padded, sample_inputs, save_tiny

SIZES = dict(vocab_size=48, hidden_size=16, intermediate_size=24, num_hidden_layers=2)
FAMILIES = ["llama", "llama-rope-llama3", "llama-biases", "mistral-window", "qwen2-tied", "qwen3", "ministral3",
            "gemma", "gemma2", "gemma3", "phi", "phi3", "granite", "olmo2", "smollm3", "gpt2"]
OTHER_SIZES = {"qwen3": dict(head_dim=6), "gemma3": dict(num_hidden_layers=4), "smollm3": dict(num_hidden_layers=4)}
ADAPTERS = {
    "all-linear": ("llama", dict(target_modules="all-linear")),
    "rslora-patterns": ("qwen2-tied", dict(
        target_modules=["q_proj", "v_proj", "down_proj"], use_rslora=True,
        rank_pattern={"v_proj": 2}, alpha_pattern={r"layers\.1\.self_attn\.q_proj": 5})),
    "bias-lora-only": ("llama-biases", dict(target_modules=["q_proj", "up_proj"], bias="lora_only")),
    "bias-all": ("llama-biases", dict(target_modules=["q_proj"], bias="all")),
    "modules-to-save": ("llama", dict(target_modules=["v_proj"], modules_to_save=["lm_head"])),
    "pattern": ("qwen3", dict(target_modules=r".*\.1\..*\.(k|o)_proj")),
    "one-layer": ("llama", dict(target_modules=["k_proj", "down_proj"], layers_to_transform=[1])),
}
TOLERANCE = {"absolute": 1e-5, "reason": "sums of at most 48 products of order 1 in float32, in another order"}


def emptied(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def manifest(directory: Path):
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    (directory / "manifest.json").write_text(json.dumps(
        {"script": "scripts/goldens/decoders.py", "versions": versions, "tolerance": TOLERANCE,
         "seeds": "weights: sum of the bytes of the name in peers.TINY; ids 1; adapters 3 and 5"}, indent=2) + "\n")


def checkpoints(root: Path):
    for name in FAMILIES:
        folder = root / name
        save_tiny(name, folder, **{**SIZES, **OTHER_SIZES.get(name, {})})
        (folder / "generation_config.json").unlink(missing_ok=True)
        model = load_model(folder)
        inputs = sample_inputs(SIZES["vocab_size"], length=9)
        left = padded(inputs, "left", count=3)
        with torch.no_grad():
            plain, masked = model(**inputs), model(**left)
        save_file({**inputs, "logits": plain.logits, "loss": plain.loss,
                   "left.input_ids": left["input_ids"], "left.attention_mask": left["attention_mask"],
                   "left.logits": masked.logits}, folder / "expected.safetensors")


def adapters(root: Path, bases: Path):
    for name, (base, config) in ADAPTERS.items():
        torch.manual_seed(3)
        model = get_peft_model(load_model(bases / base), LoraConfig(
            r=4, lora_alpha=6, task_type="CAUSAL_LM", **config))
        disturb(model, 0.1)
        model.save_pretrained(root / name)
        (root / name / "README.md").unlink(missing_ok=True)
        path = root / name / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": base}, indent=2) + "\n")
        inputs = sample_inputs(SIZES["vocab_size"], length=9)
        output = model.eval()(**inputs)
        output.loss.backward()
        named = {key: p.grad if p.grad is not None else torch.zeros_like(p)
                 for key, p in model.named_parameters() if p.requires_grad}
        gradients = get_peft_model_state_dict(model, state_dict=named)
        trainable, everything = model.get_nb_trainable_parameters()
        save_file({**inputs, "logits": output.logits.detach(), "loss": output.loss.detach(),
                   "counts": torch.tensor([trainable, everything]),
                   **{f"grad.{key}": value.contiguous() for key, value in gradients.items()}},
                  root / name / "expected.safetensors")


def main():
    models = emptied(ROOT / "Tests/ModelsTests/Fixtures")
    checkpoints(models)
    manifest(models)
    folder = ROOT / "Tests/AdaptersTests/Fixtures"
    for name in ADAPTERS:  # What other scripts wrote stays.
        emptied(folder / name)
    adapters(folder, models)
    manifest(folder)


if __name__ == "__main__":
    main()
