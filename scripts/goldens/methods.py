#!/usr/bin/env python3
"""Adapters of every method as PEFT saves them, with its logits, loss and gradients.

    .peers/bin/python scripts/goldens/methods.py      # Tests/AdaptersTests/Fixtures/methods anew

One folder for each method: the first case of it in scripts/interop/method_cases."""

import json
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/interop"))

import peft
import torch
import transformers
from safetensors.torch import save_file

from adapter_checks import Peer
from methods import cases
from peers import save_tiny

TARGET = ROOT / "Tests/AdaptersTests/Fixtures/methods"
BASE = "llama"


def rewrite(path, **changes):
    """Changes fields of an adapter_config.json."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}, indent=2, sort_keys=True) + "\n")


def main():
    shutil.rmtree(TARGET, ignore_errors=True)
    base = TARGET / "base"
    save_tiny(BASE, base)
    (base / "generation_config.json").unlink(missing_ok=True)
    done = set()
    for name, case in cases():
        config = case["config"]()
        kind = config.peft_type.value
        if kind in done or case.get("golden") is False:
            continue
        done.add(kind)
        folder = TARGET / kind.lower().replace("_", "-")
        peer = case.get("peer", Peer())
        model = peer.trained(folder, base, case.get("scale", 0.1), config, case.get("repeated", ()))
        (folder / "README.md").unlink(missing_ok=True)
        rewrite(folder / "adapter_config.json", base_model_name_or_path="base")
        inputs = {**peer.inputs(model.config.vocab_size, length=9), **case.get("inputs", {})}
        logits, loss, gradients = peer.results(model, inputs)
        save_file({**inputs, "logits": logits.contiguous(), "loss": loss,
                   **{f"grad.{key}": value.contiguous() for key, value in gradients.items()}},
                  folder / "expected.safetensors")
        if kind == "XLORA":
            # Copies of the experts; PEFT would follow their relative paths from where it runs.
            for name, expert in config.adapters.items():
                shutil.copytree(expert, folder / name, ignore=shutil.ignore_patterns("README.md"))
                rewrite(folder / name / "adapter_config.json", base_model_name_or_path="base")
            rewrite(folder / "adapter_config.json", adapters={name: name for name in config.adapters})
        print(f"{kind}: {sum(p.stat().st_size for p in folder.rglob('*')) // 1024} kB")
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    (TARGET / "manifest.json").write_text(json.dumps(
        {"script": "scripts/goldens/methods.py", "versions": versions, "base": BASE,
         "tolerance": {"absolute": 1e-4, "reason": "float32 sums in another order, through three blocks"},
         "seeds": "base: peers.TINY; adapters 3 and 5; ids 1"}, indent=2) + "\n")


if __name__ == "__main__":
    main()
