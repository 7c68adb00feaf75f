#!/usr/bin/env python3
"""Writes Tests/AdaptersTests/Fixtures/lora-starts.safetensors with PEFT: starts that are found from data.

    .peers/bin/python scripts/goldens/lora_starts.py

One linear layer of 12 inputs and 10 outputs, three batches of 24 rows, and a loss that is linear in the
outputs. As the signs of singular vectors are free, the fixture holds B A for CorDA, A^T A above B B^T for
LoRA-GA, and for EVA A^T A of two layers, whose ranks are shared out by the variance of their inputs.
"""

import sys
import types
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

# PEFT's corda imports a package that it does not declare.
sys.modules.setdefault("attr", types.SimpleNamespace(dataclass=__import__("dataclasses").dataclass))
from peft import EvaConfig, LoraConfig, get_peft_model, initialize_lora_eva_weights  # noqa: E402
from peft.tuners.lora.config import CordaConfig, LoraGAConfig  # noqa: E402
from peft.tuners.lora.corda import preprocess_corda  # noqa: E402
from peft.tuners.lora.loraga import preprocess_loraga  # noqa: E402

OUTPUT = Path(__file__).parents[2] / "Tests/AdaptersTests/Fixtures/lora-starts.safetensors"
SETTINGS = {"r": 3, "lora_alpha": 6, "target_modules": ["linear"]}


class Model(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.linear = nn.Linear(12, 10, bias=False)
        self.linear.weight.data = weight.clone()

    def forward(self, x):
        return self.linear(x)


class Pair(nn.Module):
    """Two layers with inputs of their own."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(12, 10, bias=False), nn.Linear(12, 10, bias=False)

    def forward(self, x):
        return self.first(x[:, 0].contiguous()) + self.second(x[:, 1].contiguous())


def product(model, name="linear"):
    layer = model.base_model.model.get_submodule(name)
    return layer.lora_B["default"].weight @ layer.lora_A["default"].weight


def corda(weight, batches, mode):
    config = LoraConfig(init_lora_weights="corda", corda_config=CordaConfig(corda_method=mode), **SETTINGS)
    model = Model(weight)

    def run():
        for x in batches:
            model(x)

    preprocess_corda(model, config, run)
    return product(get_peft_model(model, config))


def lora_ga(weight, batches, slopes, direction, scale):
    config = LoraConfig(init_lora_weights="lora_ga", lora_ga_config=LoraGAConfig(direction=direction, scale=scale),
                        **SETTINGS)
    model = Model(weight)

    def step():
        for x, g in zip(batches, slopes):
            (model(x) * g).sum().backward()

    preprocess_loraga(model, config, step)
    layer = get_peft_model(model, config).base_model.model.linear
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    return torch.cat([(a.T @ a).flatten(), (b @ b.T).flatten()])


def eva(batches, others, whiten):
    config = LoraConfig(r=3, lora_alpha=6, target_modules=["first", "second"], init_lora_weights="eva",
                        eva_config=EvaConfig(whiten=whiten, tau=0.999))
    model = get_peft_model(Pair(), config)
    data = [torch.stack([a, b], dim=1) for a, b in zip(batches, others)]
    initialize_lora_eva_weights(model, data, forward_fn=lambda model, x: model(x), prepare_model_inputs_fn=None,
                                prepare_layer_inputs_fn=lambda layer_input, model_input, name:
                                layer_input[0] if isinstance(layer_input, tuple) else layer_input,
                                show_progress_bar=False)
    result = {}
    for name in ["first", "second"]:
        layer = model.base_model.model.get_submodule(name)
        a = layer.lora_A["default"].weight
        result[name] = (a.T @ a, torch.tensor([float(a.shape[0]), layer.scaling["default"]]))
    return result


def main():
    generator = torch.Generator().manual_seed(7)

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    weight = normal(10, 12)
    # Inputs with clear directions.
    lengths = torch.linspace(4, 0.3, 12)
    batches = [normal(24, 12) * lengths for _ in range(3)]
    flat = [normal(24, 12) * torch.cat([torch.tensor([9.0]), torch.full((11,), 0.2)]) for _ in range(3)]
    slopes = [normal(24, 10) for _ in range(3)]
    tensors = {"weight": weight}
    for index in range(3):
        tensors[f"x.{index}"], tensors[f"flat.{index}"] = batches[index], flat[index]
        tensors[f"slope.{index}"] = slopes[index]
    for mode in ["ipm", "kpm"]:
        tensors[f"corda.{mode}"] = corda(weight, batches, mode)
    for direction in ["ArBr", "A2rBr", "ArB2r"]:
        tensors[f"lora_ga.{direction}.stable"] = lora_ga(weight, batches, slopes, direction, "stable")
    for scale in ["weight_svd", "gd_scale", "unit"]:
        tensors[f"lora_ga.ArBr.{scale}"] = lora_ga(weight, batches, slopes, "ArBr", scale)
    for whiten in [False, True]:
        for name, (square, settings) in eva(batches, flat, whiten).items():
            tensors[f"eva.{whiten}.{name}".lower()] = square
            tensors[f"eva.{whiten}.{name}.rank_scale".lower()] = settings
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, OUTPUT)


if __name__ == "__main__":
    main()
