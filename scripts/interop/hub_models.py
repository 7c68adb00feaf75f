"""The repositories that hub.py's server has."""

import json
import random
from pathlib import Path

from peft import LoraConfig, get_peft_model

from hub_server import Repository
from peers import load_model, tiny_with_tokenizer

SIZE = 3_000_000
WEIGHTS = "model.safetensors"


def read_files(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def repositories(options) -> dict[str, Repository]:
    work = options.work
    tiny_with_tokenizer(work / "tiny", options.smollm2)
    base = load_model(work / "tiny")
    adapter = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False,
                                              task_type="CAUSAL_LM"))
    adapter.save_pretrained(work / "adapter")
    big = random.Random(0).randbytes(SIZE)
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    evil = {"weight_map": {"a": "../../../../outside.safetensors"}}
    more = {"README.md": b"# A model", "pytorch_model.bin": b"pickle" * 100, "tf_model.h5": b"other" * 100}
    small = {"config.json": b'{"model_type": "llama"}', "tokenizer.json": b"{}", "generation_config.json": b"{}"}
    shards = {f"model-0000{i}-of-00002.safetensors": bytes([i]) * 300_000 for i in (1, 2)}
    large = {WEIGHTS, "pytorch_model.bin", "adapter_model.safetensors", "tokenizer.json", *shards}
    encoded = {"model.safetensors.index.json": json.dumps(index).encode()}
    contents = {
        "big": small | more | {WEIGHTS: big},
        "tiny": read_files(work / "tiny") | more,
        "adapter": read_files(work / "adapter"),
        "sharded": small | more | encoded | shards | {"additional_chat_templates/tools.jinja": b"{{ x }}"},
        "hole": small | encoded | dict(list(shards.items())[:1]),
        "pickle": small | more,
        "gguf": {"q4.gguf": b"GGUF", "config.json": b"{}"},
        "evil": small | {"model.safetensors.index.json": json.dumps(evil).encode(), WEIGHTS + ".txt": b""},
    }
    return {f"acme/{name}": Repository(files, large & set(files)) for name, files in contents.items()}
