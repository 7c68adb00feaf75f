#!/usr/bin/env python3
"""LoRA adapters both ways between PEFT and graft: logits, loss, gradients, training, merging."""

from adapter_checks import from_graft, from_peft
from peers import Report, arguments, save_tiny, tiny_with_tokenizer
from peft import LoraConfig

ATTENTION = ["q_proj", "v_proj"]
# Name, tiny checkpoints it is tried on, whether SmolLM2 too, and the LoRA configuration.
CASES = [
    ("q,v r 8", ["llama", "mistral-window", "qwen2", "qwen3", "llama-rope-llama3"], True,
     dict(target_modules=ATTENTION)),
    ("all-linear", ["llama", "llama-tied", "qwen3-tied"], True, dict(target_modules="all-linear")),
    ("rsLoRA", ["llama"], True, dict(target_modules="all-linear", use_rslora=True)),
    ("rank and alpha patterns", ["llama", "qwen2"], True, dict(
        target_modules=["q_proj", "k_proj", "v_proj", "down_proj"],
        rank_pattern={"k_proj": 3, r"^model.layers.1.mlp.down_proj": 5},
        alpha_pattern={"v_proj": 40, r"layers\.2\.self_attn\.q_proj": 7})),
    ("layers_to_transform", ["llama"], True, dict(
        target_modules=ATTENTION, layers_to_transform=[0, 2])),
    ("layers_pattern", ["llama"], False, dict(
        target_modules=ATTENTION, layers_to_transform=1, layers_pattern="layers")),
    ("bias all", ["llama-biases", "qwen2"], False, dict(target_modules=ATTENTION, bias="all")),
    ("bias lora_only", ["llama-biases", "qwen2"], False,
     dict(target_modules=ATTENTION, bias="lora_only")),
    ("modules_to_save lm_head", ["llama", "qwen3"], False,
     dict(target_modules=ATTENTION, modules_to_save=["lm_head"])),
    ("regex target", ["llama"], True,
     dict(target_modules=r"model\.layers\.[02]\.(self_attn\.o|mlp\.gate)_proj")),
    ("exclude_modules", ["llama"], False,
     dict(target_modules=["q_proj", "up_proj"], exclude_modules=["model.layers.0.mlp.up_proj"])),
]


def lora(config):
    return LoraConfig(**{"r": 8, "lora_alpha": 16, "task_type": "CAUSAL_LM", **config})


def main():
    options = arguments(__doc__)
    report = Report("adapters")
    bases = {}
    for name, tiny_bases, on_smollm2, config in CASES:
        for base in tiny_bases:
            if base not in bases:
                bases[base] = save_tiny(base, options.work / "bases" / base)
            label = f"{name}, {base}"
            report.case(label, from_peft, report, options, label, bases[base], lora(config), 0.1)
        if on_smollm2:
            label = f"{name}, SmolLM2"
            report.case(label, from_peft, report, options, label, options.smollm2, lora(config), 0.02)
    text = tiny_with_tokenizer(options.work / "bases" / "text", options.smollm2)
    for label, base, rate, changes in [
        ("trained all-linear, tiny", text, 1e-2, ["--target-modules", "all-linear"]),
        ("trained q,v, tiny", text, 1e-2, ["--target-modules", "q_proj,v_proj"]),
        ("trained q,v, SmolLM2", options.smollm2, 1e-3, ["--target-modules", "q_proj,v_proj"]),
    ]:
        shape = ["--rank", 8, "--alpha", 16]
        report.case(label, from_graft, report, options, label, base, rate, shape + changes)
    report.finish()


if __name__ == "__main__":
    main()
