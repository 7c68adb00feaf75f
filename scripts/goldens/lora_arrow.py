#!/usr/bin/env python3
"""Writes Tests/AdaptersTests/Fixtures/lora-arrow.safetensors with PEFT: Arrow's routing in one layer.

    .peers/bin/python scripts/goldens/lora_arrow.py

W, an input, factors of three adapters and of two general ones, and for each case the layer's output. Each update
has one singular value far above the others, so that PEFT's 15 rounds find its vector.
"""

from pathlib import Path

import torch
from peft.tuners.lora.arrow import ArrowLoraLinearLayer
from peft.tuners.lora.config import ArrowConfig
from safetensors.torch import save_file
from torch import nn

OUTPUT = Path(__file__).parents[2] / "Tests/AdaptersTests/Fixtures/lora-arrow.safetensors"
TASKS, GENERAL, RANK, SCALE = [f"task_{i}" for i in range(3)], ["gks_0", "gks_1"], 3, 1.5
CASES = {
    "one": dict(top_k=1), "two": dict(top_k=2, router_temperature=0.7), "all": dict(top_k=3),
    "general": dict(top_k=2, use_gks=True),
}


def factor(shape, lengths, dimension):
    sizes = [1, 1]
    sizes[dimension] = -1
    return torch.randn(shape) * torch.tensor(lengths).reshape(sizes)


def main():
    torch.manual_seed(17)
    weight, x = torch.randn(7, 10) / 3, torch.randn(2, 5, 10)
    tensors, factors = {"weight": weight, "x": x}, {}
    for name in TASKS + GENERAL:
        factors[name] = (factor((RANK, 10), [1.0, 0.2, 0.1], 0), factor((7, RANK), [1.0, 0.2, 0.1], 1))
        if name in GENERAL:
            factors[name] = tuple(value * 0.1 for value in factors[name])
        tensors |= {f"{name}.a": factors[name][0], f"{name}.b": factors[name][1]}
    for case, changes in CASES.items():
        config = ArrowConfig(rng_seed=5, **changes)
        config.task_adapter_names, config.gks_adapter_names = TASKS, GENERAL
        a, b = nn.ModuleDict(), nn.ModuleDict()
        for name, (left, right) in factors.items():
            a[name], b[name] = nn.Linear(10, RANK, bias=False), nn.Linear(RANK, 7, bias=False)
            a[name].weight.data, b[name].weight.data = left.clone(), right.clone()
        layer = ArrowLoraLinearLayer(10, config)
        with torch.no_grad():
            layer.gen_know_sub(a, b)
            layer.build_prototypes(a, b)
            delta = layer(x, a, b, nn.Identity(), dict.fromkeys(TASKS, SCALE))
        tensors[f"{case}.y"] = x @ weight.T + delta
    save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()}, OUTPUT)


if __name__ == "__main__":
    main()
