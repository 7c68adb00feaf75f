#!/usr/bin/env python3
"""`graft export` of adapters, and merged models in shards, against PEFT and transformers.

A GGUF adapter and an MLX adapter must add up to the merged model, and MLX's come back as they were.
"""

import json
from pathlib import Path

from peers import Report, arguments, disturb, largest, load_model, sample_inputs, save_tiny

import gguf
import numpy as np
import peft
import torch
from gguf.constants import Keys
from safetensors.torch import load_file

from exports import WIDE, checkpoint, field

ADAPTERS = {
    "llama": ("llama", dict(r=4, lora_alpha=16, target_modules="all-linear")),
    "llama-patterns": ("llama", dict(
        r=4, lora_alpha=16, target_modules=["q_proj", "k_proj", "down_proj"], use_rslora=True,
        rank_pattern={"layers.1.self_attn.q_proj": 6}, alpha_pattern={"down_proj": 3})),
    "qwen2": ("qwen2", dict(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj", "gate_proj"])),
    "gemma2": ("gemma2", dict(r=4, lora_alpha=8, target_modules="all-linear")),
    "phi3": ("phi3", dict(r=4, lora_alpha=8, target_modules=["qkv_proj", "gate_up_proj"])),
    "gpt2": ("gpt2", dict(r=4, lora_alpha=8, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True)),
    "dora": ("llama", dict(r=4, lora_alpha=8, target_modules=["q_proj", "up_proj"], use_dora=True)),
    "last-layers": ("llama", dict(r=4, lora_alpha=8, target_modules=["v_proj"], layers_to_transform=[1, 2])),
}


def make_adapter(options, case: str) -> tuple[Path, Path]:
    base, settings = ADAPTERS[case]
    directory = checkpoint(options, base)
    model = peft.get_peft_model(load_model(directory), peft.LoraConfig(**settings))
    disturb(model, 0.05)
    adapter = options.work / f"adapter-{case}"
    model.save_pretrained(adapter)
    return directory, adapter


def tensors_of(path: Path) -> dict[str, np.ndarray]:
    return {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(path).tensors}


def gguf_adapter(report, options, case: str):
    directory, adapter = make_adapter(options, case)
    base, merged, lora = (options.work / f"{case}-{part}.gguf" for part in ["base", "merged", "lora"])
    options.graft.run("export", "--model", directory, "--output", base, "--format", "f32")
    options.graft.run("export", "--model", directory, "--adapter", adapter, "--output", merged, "--format", "f32")
    options.graft.run("export", "--model", directory, "--adapter", adapter, "--output", lora, "--format", "gguf-lora")
    reader, tensors = gguf.GGUFReader(lora), tensors_of(lora)
    kinds = [field(reader, key) for key in [Keys.General.TYPE, Keys.Adapter.TYPE]]
    report.line(kinds == ["adapter", "lora"], f"gguf-lora {case}: metadata", f"{kinds}")
    alpha, found, wanted = field(reader, Keys.Adapter.LORA_ALPHA), tensors_of(base), tensors_of(merged)
    adapted = {name.rsplit(".lora_", 1)[0] for name in tensors}
    for name in adapted:
        a, b = tensors[name + ".lora_a"].astype(np.float64), tensors[name + ".lora_b"].astype(np.float64)
        found[name] = found[name] + alpha / a.shape[0] * (b @ a)
    changed = {name for name, values in wanted.items() if not np.array_equal(values, tensors_of(base)[name])}
    report.line(changed == adapted, f"gguf-lora {case}: layers", f"{len(adapted)} adapted, {len(changed)} changed")
    worst = max(float(np.abs(found[name] - wanted[name]).max()) for name in wanted)
    report.within(f"gguf-lora {case}: base + scale B A against the merged model", (worst, ""), 1e-6)


def mlx_adapter(report, options, case: str):
    directory, adapter = make_adapter(options, case)
    mlx, back = options.work / f"{case}-mlx", options.work / f"{case}-peft"
    options.graft.run("export", "--model", directory, "--adapter", adapter, "--output", mlx, "--format", "mlx")
    settings = json.loads((mlx / "adapter_config.json").read_text())
    tensors, lora = load_file(mlx / "adapters.safetensors"), settings["lora_parameters"]
    weights, model = load_file(directory / "model.safetensors"), load_model(directory)
    merged = peft.PeftModel.from_pretrained(load_model(directory), adapter).merge_and_unload().state_dict()
    layers = {name.rsplit(".", 1)[0] for name in tensors}
    keys = {layer.split(".", 3)[3] for layer in layers}
    first = min(int(layer.split(".")[2]) for layer in layers)
    wanted = ["dora" if case == "dora" else "lora", sorted(keys), model.config.num_hidden_layers - first]
    found = [settings["fine_tune_type"], lora["keys"], settings["num_layers"]]
    report.line(found == wanted, f"mlx {case}: configuration", f"{found} rank {lora['rank']} scale {lora['scale']}")
    shapes = all(tensors[f"{layer}.lora_a"].shape == (weights[f"{layer}.weight"].shape[1], lora["rank"])
                 and tensors[f"{layer}.lora_b"].shape == (lora["rank"], weights[f"{layer}.weight"].shape[0])
                 for layer in layers)
    report.line(shapes, f"mlx {case}: shapes", "[inputs, rank] and [rank, outputs]")
    worst = 0.0
    for layer in layers:
        update = lora["scale"] * (tensors[f"{layer}.lora_a"].double() @ tensors[f"{layer}.lora_b"].double()).T
        sum_ = weights[f"{layer}.weight"].double() + update
        if case == "dora":
            sum_ *= (tensors[f"{layer}.m"].double() / sum_.norm(dim=1))[:, None]
        worst = max(worst, float((sum_ - merged[f"{layer}.weight"].double()).abs().max()))
    report.within(f"mlx {case}: weights against PEFT's merged model", (worst, ""), 1e-6)
    options.graft.run("export", "--adapter", mlx, "--output", back, "--format", "peft")
    ids = sample_inputs(512)["input_ids"]
    logits = [peft.PeftModel.from_pretrained(load_model(directory), path).eval()(ids).logits for path in [adapter, back]]
    # With scales that differ by layer B is rounded as it takes them up.
    limit = 5e-6 if "patterns" in case else 1e-6
    report.within(f"mlx {case}: PEFT's logits with what came back", largest(logits[1], logits[0]), limit)
    if "patterns" not in case:
        original, returned = (load_file(path / "adapter_model.safetensors") for path in [adapter, back])
        same = original.keys() == returned.keys() and all(torch.equal(original[k], returned[k]) for k in original)
        report.line(same, f"mlx {case}: tensors that came back", "equal bit for bit")
    other, again = options.work / f"{case}-import", options.work / f"{case}-mlx-again"
    options.graft.run("import", mlx, "--output", other)
    same = (other / "adapter_model.safetensors").read_bytes() == (back / "adapter_model.safetensors").read_bytes()
    report.line(same, f"mlx {case}: graft import", "the same file")
    options.graft.run("export", "--model", directory, "--adapter", back, "--output", again, "--format", "mlx")
    same = all((mlx / name).read_bytes() == (again / name).read_bytes() for name in ["adapters.safetensors"])
    report.line(same, f"mlx {case}: and to MLX again", "the same file")


def shards(report, options):
    """Merged models in shards, against transformers' own writing of PEFT's merged model."""
    directory, adapter = make_adapter(options, "llama")
    model = peft.PeftModel.from_pretrained(load_model(directory), adapter).merge_and_unload()
    theirs, ours = options.work / "shards-theirs", options.work / "shards-ours"
    model.save_pretrained(theirs, max_shard_size="40KB")
    options.graft.run("merge", "--model", directory, "--adapter", adapter, "--output", ours,
                      "--max-shard-size", "40KB")
    indices = [json.loads((path / "model.safetensors.index.json").read_text()) for path in [theirs, ours]]
    report.line(indices[0]["metadata"] == indices[1]["metadata"], "shards: metadata", f"{indices[1]['metadata']}")
    same = indices[0]["weight_map"].keys() == indices[1]["weight_map"].keys()
    sizes = [path.stat().st_size for path in ours.glob("*.safetensors")]
    report.line(same and len(sizes) == len(set(indices[1]["weight_map"].values())), "shards: index",
                f"{len(sizes)} files, {len(set(indices[0]['weight_map'].values()))} by transformers")
    ids = sample_inputs(512)["input_ids"]
    with torch.no_grad():
        report.within("shards: transformers' logits", largest(load_model(ours)(ids).logits, model(ids).logits), 1e-5)
    kept = [name for name in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
            if (directory / name).exists() and not (ours / name).exists()]
    report.line(not kept, "shards: companions", f"{kept or 'all copied'}")
    for words, name in [(["quantize", "--model", directory, "--format", "nf4"], "nf4"),
                        (["import", options.work / "llama-base.gguf"], "imported")]:
        target = options.work / f"shards-{name}"
        options.graft.run(*words, "--output", target, "--max-shard-size", "40KB")
        count = len(list(target.glob("model-*.safetensors")))
        report.line(count > 1 and (target / "model.safetensors.index.json").exists(), f"shards: {name}", f"{count} files")


def refusals(report, options):
    def refused(name: str, code: int, words: list, *more):
        target = options.work / "refused"
        done = options.graft.run("export", "--output", target, *more, expect=code)
        missing = [word for word in words if word not in done.stderr]
        report.line(not missing and not target.exists(), f"refused: {name}", done.stderr.strip()[-160:])

    llama, dora = make_adapter(options, "dora")
    phi = save_tiny("phi", options.work / "phi", **WIDE)
    refused("phi", 65, ["phi", "llama", "gemma2"], "--model", phi, "--format", "f16")
    for name, words in {"llama-rope-dynamic": ["dynamic"], "gemma2-uncapped": ["softcapping"],
                        "gemma3": ["attention factor"], "gpt2-scaled": ["relu"]}.items():
        directory = save_tiny(name, options.work / name, **WIDE)
        refused(name, 65, words, "--model", directory, "--format", "f16")
    refused("DoRA as a GGUF adapter", 65, ["DoRA", "merge"], "--model", llama, "--adapter", dora,
            "--format", "gguf-lora")
    for name, config in {
        "IA3": peft.IA3Config(target_modules=["k_proj"], feedforward_modules=[]),
        "modules_to_save": peft.LoraConfig(target_modules=["k_proj"], modules_to_save=["lm_head"]),
        "embed_tokens": peft.LoraConfig(target_modules=["embed_tokens"]),
    }.items():
        path = options.work / f"refused-{name}"
        peft.get_peft_model(load_model(llama), config).save_pretrained(path)
        words = ["IA3", "merge", "extract"] if name == "IA3" else ["lm_head" if "modules" in name else name]
        for kind in ["gguf-lora", "mlx"]:
            refused(f"{name} as {kind}", 65, words, "--model", llama, "--adapter", path, "--format", kind)


def main():
    options = arguments(__doc__)
    report = Report("exported adapters")
    for case in [name for name in ADAPTERS if name != "dora"]:
        report.case(case, gguf_adapter, report, options, case)
    for case in [name for name in ADAPTERS if name != "gpt2"]:
        report.case(case, mlx_adapter, report, options, case)
    report.case("shards", shards, report, options)
    report.case("refusals", refusals, report, options)
    report.finish()


if __name__ == "__main__":
    main()
