#!/usr/bin/env python3
"""Writes Tests/AdaptersTests/Fixtures/parts with PEFT: adapters of single convolutions and embeddings.

    .peers/bin/python scripts/goldens/parts.py

For each case PEFT's own directory, with the numbers of the adapter moved off their start, and in it layer.json (how
a convolution moves) and expected.safetensors: the base's tensors, an input, the output, the gradients of the sum of
squared outputs, and the output after merging where PEFT can. Where PEFT's forward pass or gradient is not that of
what it merges, the case computes the latter.
"""

import json
import shutil
from pathlib import Path

import peft
import torch
from peft import get_peft_model, get_peft_model_state_dict
from peft.tuners.loha import layer as loha
from peft.tuners.lokr import layer as lokr
from peft.tuners.oft import layer as oft
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

OUTPUT = Path(__file__).parents[2] / "Tests/AdaptersTests/Fixtures/parts"


def line(**changes):
    return lambda: nn.Conv1d(4, 6, 3, **changes), (2, 4, 9)


def plane(**changes):
    return lambda: nn.Conv2d(4, 6, 3, **changes), (2, 4, 7, 6)


def table():
    return lambda: nn.Embedding(10, 6), None


POINT = (lambda: nn.Conv2d(4, 6, 1, bias=False), (2, 4, 4, 4))
SPACE = (lambda: nn.Conv3d(4, 6, 2), (2, 4, 3, 4, 3))
IA3 = {"target_modules": ["part"], "feedforward_modules": []}
FEEDFORWARD = {"target_modules": ["part"], "feedforward_modules": ["part"]}
CASES = {
    "lora-line": (line(stride=2, padding=1), peft.LoraConfig, {"r": 4, "lora_alpha": 6}),
    "lora-plane": (
        (lambda: nn.Conv2d(3, 5, (3, 2), stride=(2, 1), padding=(1, 0)), (2, 3, 7, 6)), peft.LoraConfig,
        {"r": 4, "lora_alpha": 6}),
    "lora-point": (POINT, peft.LoraConfig, {"r": 4, "lora_alpha": 6}),
    "lora-grouped": (plane(groups=2), peft.LoraConfig, {"r": 4, "lora_alpha": 6}),
    "lora-bias": (line(), peft.LoraConfig, {"r": 4, "lora_alpha": 6, "lora_bias": True}),
    "lora-dora": (plane(), peft.LoraConfig, {"r": 4, "lora_alpha": 6, "use_dora": True}),
    "lora-table": (table(), peft.LoraConfig, {"r": 4, "lora_alpha": 6}),
    "loha-line": (line(padding=1), peft.LoHaConfig, {"r": 2, "alpha": 3}),
    "loha-plane": (plane(stride=2, groups=2), peft.LoHaConfig, {"r": 2, "alpha": 3}),
    "loha-line-core": (line(), peft.LoHaConfig, {"r": 2, "alpha": 3, "use_effective_conv2d": True}),
    "loha-plane-core": (plane(), peft.LoHaConfig, {"r": 2, "alpha": 3, "use_effective_conv2d": True}),
    "loha-point-core": (POINT, peft.LoHaConfig, {"r": 2, "alpha": 3, "use_effective_conv2d": True}),
    "lokr-line": (line(), peft.LoKrConfig, {"r": 4, "alpha": 6}),
    "lokr-line-product": (line(padding=1), peft.LoKrConfig, {"r": 1, "alpha": 3, "decompose_factor": 2}),
    "lokr-line-core": (
        line(), peft.LoKrConfig, {"r": 1, "alpha": 3, "decompose_factor": 2, "use_effective_conv2d": True}),
    "lokr-plane": (plane(groups=2), peft.LoKrConfig, {"r": 4, "alpha": 6}),
    "lokr-plane-product": (plane(), peft.LoKrConfig, {"r": 1, "alpha": 3, "decompose_factor": 2}),
    "lokr-plane-core": (
        plane(stride=2), peft.LoKrConfig, {"r": 1, "alpha": 3, "decompose_factor": 2, "use_effective_conv2d": True}),
    "oft-plane": (plane(padding=1), peft.OFTConfig, {"oft_block_size": 4}),
    "oft-point": (POINT, peft.OFTConfig, {"oft_block_size": 2, "use_cayley_neumann": False}),
    "oft-table": (table(), peft.OFTConfig, {"oft_block_size": 3}),
    "boft-plane": (plane(padding=1), peft.BOFTConfig, {"boft_block_size": 4}),
    "hra-plane": (plane(stride=2), peft.HRAConfig, {"r": 4}),
    "hra-point": (POINT, peft.HRAConfig, {"r": 2, "apply_GS": True}),
    "ia3-plane": (plane(), peft.IA3Config, IA3),
    "ia3-plane-input": (plane(groups=2), peft.IA3Config, FEEDFORWARD),
    "ia3-space": (SPACE, peft.IA3Config, IA3),
    "hira-line": (line(stride=2), peft.HiraConfig, {"r": 3}),
    "hira-plane": (plane(padding=1), peft.HiraConfig, {"r": 3}),
    "hira-table": (table(), peft.HiraConfig, {"r": 3}),
    "tinylora-table": (table(), peft.TinyLoraConfig, {"r": 2, "u": 8}),
}


class Model(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, x):
        return self.part(x)


def plain_core(t1, w1a, w1b, t2, w2a, w2b, scale):
    """What PEFT's function computes, with the gradient of that; PEFT's own mixes the two factors up."""
    equation = "ijkl,jr,ip->prkl"
    return torch.einsum(equation, t1, w1b, w1a) * torch.einsum(equation, t2, w2b, w2a) * scale


def kron(w1, w2, scale):
    """PEFT's product, which torch 2.13 refuses for cores of kernels."""
    if w2.dim() == 4:
        rows, columns = w1.shape[0] * w2.shape[0], w1.shape[1] * w2.shape[1]
        return scale * torch.einsum("lm,knxy->lkmnxy", w1, w2).reshape(rows, columns, *w2.shape[2:])
    return scale * torch.kron(w1, w2.contiguous())


def merged_oft(self, x):
    """OFT's layer as it is merged: PEFT's own pass adds up patches that overlap."""
    base = self.get_base_layer()
    weight = base.weight.reshape(base.out_channels, -1)
    weight = (self.get_delta_weight("default") @ weight.T).T.reshape(base.weight.shape)
    return functional.conv2d(x, weight, base.bias, base.stride, base.padding)


def write(name, layer, config, shape):
    base = {f"base.{key}": value.clone() for key, value in layer.state_dict().items()}
    moves = {key: getattr(layer, key) for key in ("stride", "padding", "groups") if hasattr(layer, key)}
    model = get_peft_model(Model(layer), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.3 * torch.randn(parameter.shape)
    model.eval()
    x = torch.randn(shape) if shape else torch.randint(10, (2, 5))
    y = model(x)
    (y * y).sum().backward()
    tensors = base | {"x": x, "y": y}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for key, value in get_peft_model_state_dict(model).items():
        tensors |= {f"grad.{key}": parameter.grad for parameter in trained if torch.equal(parameter, value)}
    directory = OUTPUT / name
    model.save_pretrained(directory)
    (directory / "README.md").unlink()
    if name != "lora-grouped":
        tensors["merged"] = model.merge_and_unload()(x)
    (directory / "layer.json").write_text(json.dumps(moves) + "\n")
    save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()},
              directory / "expected.safetensors")


def main():
    shutil.rmtree(OUTPUT, ignore_errors=True)
    loha.make_weight_cp = plain_core
    lokr.make_kron = kron
    oft.Conv2d.forward = merged_oft
    for seed, (name, ((make, shape), config, fields)) in enumerate(CASES.items()):
        torch.manual_seed(seed)
        write(name, make(), config(**{"target_modules": ["part"]} | fields), shape)


if __name__ == "__main__":
    main()
